"""A channel of an ssh connection as the way to a keeper."""

from __future__ import annotations

from typing import Any

import paramiko

_MOST_SAID = 2000  #: characters


class ChannelWay:
    """Fulfils `carrier.way.Way`; what paramiko raises of its own becomes OSError."""

    def __init__(self, channel: Any, early: bytes = b"") -> None:
        """`early` was read from the channel already."""
        self._channel = channel
        self._early = early
        self.settimeout, self.close = channel.settimeout, channel.close

    def recv(self, most: int) -> bytes:
        if self._early:
            data, self._early = self._early[:most], self._early[most:]
            return data
        try:
            return bytes(self._channel.recv(most))
        except (paramiko.SSHException, EOFError) as error:
            raise OSError(str(error)) from error

    def send(self, data: bytes | memoryview) -> int:
        try:
            return int(self._channel.send(data))
        except (paramiko.SSHException, EOFError) as error:
            raise OSError(str(error)) from error

    def said(self) -> str:
        return said(self._channel)


def said(channel: Any) -> str:
    """The end of what the host wrote to standard error, on one line."""
    text = b""
    while channel.recv_stderr_ready() and len(text) < 64 << 10:
        text += channel.recv_stderr(1 << 16)
    return " ".join(text.decode("utf-8", "replace").split())[-_MOST_SAID:]
