"""Lets events gather while much is under way: a sync and a commit cost much the same for many as
for one. Where little is, each is committed as soon as it comes: somebody may wait for it.
"""

from __future__ import annotations

import time

from spoolmw.daemon.clock import boot_s

PLENTY = 8  #: attempts under way: more will end soon, and slots have their next work already
PAUSE_S = 0.005  #: between two commits while there is plenty


class Company:
    """Keeps commits apart. Used by the reactor's thread alone."""

    def __init__(self) -> None:
        self._committed_at = 0.0

    def committed(self) -> None:
        """A commit has just been made."""
        self._committed_at = boot_s()

    def wait(self, under_way: int) -> None:
        """Sleep, with plenty `under_way`, until the last commit is PAUSE_S ago."""
        if under_way >= PLENTY:
            time.sleep(max(0.0, self._committed_at + PAUSE_S - boot_s()))
