"""A runner as a child of this process, and the stream to it."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Mapping, Set, Union

from . import PROTOCOL, outputs, process, wire

PathName = Union[str, "os.PathLike[str]"]


class Charge:
    """A running runner. It and all below it carry a mark in their environment from birth."""

    def __init__(self, archive: PathName, root: PathName, setup: Mapping[str, Any]) -> None:
        """Start one for the spool at `root`; `setup` is what it is told of its agent. Raises OSError."""
        archive, root = os.fspath(archive), os.fspath(root)
        token = secrets.token_hex(16)
        env = {**setup["env"], "SPOOLMW_SPOOL": root, "SPOOLMW_WORKER": token}
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                # -I -S: the runner needs nothing that is installed here, and starts faster so.
                [sys.executable, "-I", "-S", archive, "runner", str(fd), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                env=env,
                pass_fds=(fd,),
                start_new_session=True,
            )
        self.stream = wire.Stream(ours)
        self.pidfd = os.pidfd_open(self._process.pid)
        self.started_at = time.monotonic()
        self._mark = f"SPOOLMW_WORKER={token}".encode()
        told = {"do": "setup", "protocol": PROTOCOL, "spool": root, "umask": umask()}
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


def umask() -> int:
    """This process's umask; os.umask() would change it for a moment, for all threads."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def at_hand(root: str, agent: str = "") -> Set[str]:
    """The attempts that were at hand in the workers of a spool, as these noted them."""
    found = set()
    for path in glob.glob(f"{glob.escape(root)}/tmp/output/{glob.escape(agent)}*.now"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            found.add(file.read().rstrip(b"\0").decode())
    return found


def clean(root: str, agent: str = "") -> None:
    """Remove what workers that are gone left in `tmp/`."""
    for part in ("scratch", "output"):
        folder = f"{root}/tmp/{part}"
        os.makedirs(folder, exist_ok=True)
        for path in glob.glob(f"{glob.escape(folder)}/{glob.escape(agent)}*"):
            with contextlib.suppress(OSError):
                outputs.remove(path) if os.path.isdir(path) else os.unlink(path)
