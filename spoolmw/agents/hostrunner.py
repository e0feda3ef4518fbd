"""A runner as a process of this machine, and the stream to it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spoolmw.runner import PROTOCOL, process, wire


class HostRunner:
    """A running runner. It and all below it carry a mark in their environment from birth."""

    def __init__(self, archive: Path, root: Path, setup: Mapping[str, Any]) -> None:
        """Start one for the spool at `root`; `setup` is what it is told of its agent."""
        token = secrets.token_hex(16)
        env = {**setup["env"], "SPOOLMW_SPOOL": str(root), "SPOOLMW_WORKER": token}
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                # -I -S: the runner needs nothing that is installed here, and starts faster so.
                [sys.executable, "-I", "-S", str(archive), "runner", str(fd), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                env=env,
                pass_fds=(fd,),
                start_new_session=True,
            )
        self.stream = wire.Stream(ours)
        self.pidfd = os.pidfd_open(self._process.pid)
        self.started_at = time.monotonic()
        self._mark = f"SPOOLMW_WORKER={token}".encode()
        told = {"do": "setup", "protocol": PROTOCOL, "spool": str(root), "umask": _umask()}
        self.stream.send(wire.json_frame({**told, **setup, "env": env}))

    def kill(self) -> None:
        """End it at once; what is below it ends with `end`."""
        self._process.kill()

    def end(self) -> str:
        """See to it that nothing of it is left; returns how it ended."""
        self._process.kill()
        status = self._process.wait()
        process.kill_marked(self._mark)
        self.stream.close()
        os.close(self.pidfd)
        return f"exit code {status}" if status >= 0 else signal.Signals(-status).name


def _umask() -> int:
    """This process's umask; os.umask() would change it for a moment, for all threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
