"""The link process of one section of agents, as the daemon sees it: started, and started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from spoolmw.runner import wire

_END_S = 5.0  #: for the process to end by itself once its streams are closed


class Link:
    """One process with a stream for each host. When it dies, all its streams end with it."""

    def __init__(
        self, labels: Sequence[str], module: str, env: Mapping[str, str] | None = None
    ) -> None:
        """`module` is what the process runs; `env` is added to its environment."""
        self._env = env or {}
        self._module = module
        self._labels = tuple(labels)
        self._lock = threading.Lock()
        self._streams: dict[str, wire.Stream] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._closed: set[str] = set()

    def stream(self, label: str, dead: wire.Stream | None) -> wire.Stream:
        """The stream of a host. `dead` is the one that ended, if there was one: who says so
        first has a new process started. Raises OSError."""
        with self._lock:
            if self._streams.get(label) is dead:
                self._start()
            return self._streams[label]

    def kill(self) -> None:
        """End the process at once; whoever reads its streams has a new one started."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self, label: str) -> None:
        """A host is not needed any more; with the last one the process ends."""
        with self._lock:
            if label in self._closed:
                return
            self._closed.add(label)
            stream = self._streams.get(label)
            if stream is not None:
                stream.close()
            if len(self._closed) == len(self._labels):
                self._end(_END_S)

    def _start(self) -> None:
        self._end(0.0)
        pairs = {
            label: socket.socketpair() for label in self._labels if label not in self._closed
        }
        theirs = [their for _, their in pairs.values()]
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", self._module),
                    *(str(os.getpid()), *(str(each.fileno()) for each in theirs)),
                ],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._env},
                pass_fds=[each.fileno() for each in theirs],
                start_new_session=True,
            )
        finally:
            for each in theirs:
                each.close()
        self._streams = {label: wire.Stream(ours) for label, (ours, _) in pairs.items()}

    def _end(self, wait_s: float) -> None:
        """See to it that the process is gone; it holds nothing that would be lost with it."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        self._process.kill()
        self._process.wait()
        self._process = None
