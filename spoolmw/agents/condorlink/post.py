"""What the parts of the link process need of it: the way to the daemon."""

from __future__ import annotations

from typing import Any, Protocol


class Post(Protocol):
    """The way to the daemon."""

    def hear(self, timeout_s: float) -> list[dict[str, Any]]:
        """What the daemon says."""

    def tell(self, tree: dict[str, Any]) -> None:
        """Say something."""

    def remark(self, text: str) -> None:
        """Something for the daemon's log."""

    def beat(self) -> None:
        """Say now and then that this process lives."""
