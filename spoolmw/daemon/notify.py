"""Tells systemd how the service is: sd_notify(3) over its socket, nothing where there is none."""

from __future__ import annotations

import os
import socket
import time

from spoolmw.daemon.clock import boot_s


class Notifier:
    """Sends READY, STATUS, STOPPING, RELOADING and WATCHDOG to `$NOTIFY_SOCKET`.

    `watchdog_s` is the interval at which systemd wants a sign of life (0: none wanted); a
    beat is sent at a third of it, as sd_watchdog_enabled(3) advises at most a half.
    """

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        env = dict(os.environ) if environ is None else environ
        self._address = env.get("NOTIFY_SOCKET", "")
        mine = env.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s = int(env.get("WATCHDOG_USEC", "0") or "0") / 1e6 if mine else 0.0
        self._next_beat = 0.0
        self._status = ""

    def send(self, *lines: str) -> None:
        """Send these `KEY=value` lines in one datagram. A deaf systemd is no error of ours."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), address)
            except OSError:
                return

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`; repeated texts are not sent again."""
        if text != self._status:
            self._status = text
            self.send(f"STATUS={text}")

    def beat(self) -> None:
        """A sign of life, when one is due. Only the reactor calls this: a stuck one must be seen."""
        if not self.watchdog_s or not self._address:
            return
        now = boot_s()
        if now >= self._next_beat:
            self._next_beat = now + self.watchdog_s / 3
            self.send("WATCHDOG=1")

    def reloading(self) -> None:
        """RELOADING=1 with the monotonic stamp that systemd wants beside it."""
        stamp = int(time.monotonic() * 1e6)
        self.send("RELOADING=1", f"MONOTONIC_USEC={stamp}")
