"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import contextlib
import selectors
import socket


class Bell:
    """Rung by any thread, heard by the one that selects on it."""

    def __init__(self) -> None:
        self._ear, self._rope = socket.socketpair()
        self._ear.setblocking(False)  # noqa: FBT003  the standard library's own signature
        self._rope.setblocking(False)  # noqa: FBT003

    def fileno(self) -> int:
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake who waits, now or when it waits next."""
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: nobody listens
            self._rope.send(b"w")

    def hush(self) -> None:
        """It was heard."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)

    def wait(self, seconds: float) -> None:
        """Wait for it so long at most."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            if selector.select(seconds):
                self.hush()

    def close(self) -> None:
        self._ear.close()
        self._rope.close()
