"""Tells whether a folder may have got new names, at the price of one `stat`.

A folder's time of change moves whenever a name appears in it or goes. It moves in ticks of
the kernel's clock, so a change that is younger than `TICK_S` may be followed by another that
looks the same: such a folder counts as changed until it has been quiet for that long.
"""

from __future__ import annotations

import os
import time

#: Seconds: longer than a tick of any kernel's coarse clock.
TICK_S = 0.05


class Changes:
    """Remembers, for each folder, when it was last seen through."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def mark(self, folder: str) -> int:
        """The folder's time of change, to be given to `seen` after looking; -1: no folder."""
        try:
            return os.stat(folder).st_mtime_ns
        except OSError:
            return -1

    def is_new(self, folder: str, mark: int) -> bool:
        """Whether the folder may hold names that were not there at the last `seen`."""
        return mark >= 0 and self._seen.get(folder) != mark

    def seen(self, folder: str, mark: int) -> None:
        """All names that stood in the folder at `mark` have been looked at."""
        if abs(time.time_ns() - mark) > TICK_S * 1e9:
            self._seen[folder] = mark
        else:
            self._seen.pop(folder, None)

    def forget(self) -> None:
        """Look again everywhere: names to look for were added."""
        self._seen.clear()
