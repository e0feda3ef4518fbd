"""Is woken when results appear: one watch for each box in use, not one for each task."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from spoolmw.spooldir.watch import Doorbell

#: Names kept until they are asked for; more than that, and looking at everything finds them.
_MOST_NAMES = 65536


class Watching:
    """The watches of one waiting thread. They are hints: who waits also looks by itself."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._bells: dict[str, Doorbell] = {}
        self._names: deque[str] = deque(maxlen=_MOST_NAMES)
        self.is_armed = False

    def include(self, folder: str) -> None:
        """Watch this folder too, from the next time that the watches are armed."""
        if folder in self._bells:
            return
        self.disarm()
        names = self._names

        def arrived(name: str) -> None:
            if name.endswith(".result"):
                names.append(f"{folder}/{name}")

        self._bells[folder] = Doorbell(Path(folder), on_ring=self._wake, on_arrival=arrived)

    def arm(self) -> None:
        """Be woken from now on; where no watch can be had, looking once a second has to do."""
        self.is_armed = True
        for bell in self._bells.values():
            bell.arm()

    def disarm(self) -> None:
        """Not be woken any more: events cost more than looking while many come."""
        if self.is_armed:
            for bell in self._bells.values():
                bell.disarm()
        self.is_armed = False

    def names(self) -> list[str]:
        """The paths that appeared since the last call."""
        names: list[str] = []
        while self._names:
            names.append(self._names.popleft())
        return names

    def close(self) -> None:
        """Stop watching for good."""
        self.is_armed = False
        for bell in self._bells.values():
            bell.close()
        self._bells.clear()
