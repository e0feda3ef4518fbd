"""The socket that systemd would listen on: what a service says of itself."""

from __future__ import annotations

import socket
from pathlib import Path


class Ear:
    """Keeps every line that was said; `path` is what `$NOTIFY_SOCKET` should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def listen(self) -> list[str]:
        """Everything that was said so far."""
        while True:
            try:
                self.lines += self._socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.lines

    def heard(self, line: str, *, after: int = 0) -> bool:
        """Whether a line that begins so was said, not counting the first `after` lines."""
        return any(said.startswith(line) for said in self.listen()[after:])

    def close(self) -> None:
        self._socket.close()
