"""The stream of bytes to a keeper, whatever it runs over."""

from __future__ import annotations

from typing import Protocol


class Way(Protocol):
    """One connection to one keeper. One thread sends on it while another receives."""

    def settimeout(self, seconds: float) -> None:
        """How long a call may wait, from the next on."""

    def recv(self, most: int) -> bytes:
        """Up to so many bytes; none at the end. Raises TimeoutError, and OSError when it broke."""

    def send(self, data: bytes | memoryview) -> int:
        """Send some of it; returns how much. Raises TimeoutError, and OSError when it broke."""

    def close(self) -> None:
        """Hang up; who waits in the other calls is woken."""

    def said(self) -> str:
        """What the other side said beside the stream, on one line: why it ended, as a rule."""
