"""Where a worker lays out the attempt at hand for what the task itself calls: see `session`.

A module of its own, so that a worker whose tasks never save loads none of the rest.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional, Tuple

from .order import Order


class Desk:
    """The attempt at hand; empty outside of one, and wherever there is no worker."""

    pid = 0
    place = ""  #: the folder of all checkpoints
    send: Optional[Callable[[bytes], object]] = None  #: to the runner
    order: Optional[Order] = None
    session: Any = None  #: set by the first load or save
    #: Which one of how many calls of a chunk it is. These share a task, and so do not save.
    part: Optional[Tuple[int, int]] = None
    told_until = 0.0  #: monotonic clock: progress was sent for the time until then

    def set_up(self, place: str, send: Callable[[bytes], object]) -> None:
        """Say once where this worker's checkpoints go, and who hears of them."""
        self.pid = os.getpid()
        self.place = place
        self.send = send

    def clear(self) -> None:
        """The attempt ended."""
        self.order = self.session = self.part = None
        self.told_until = 0.0


desk = Desk()
