"""The event logs of an agent: one that new jobs write into, and older ones while jobs do.

A job's shadow holds its log open, so a log can be neither cut nor moved while its jobs are there.
When the newest one is large the next jobs get another one, and one that no job writes into is removed.
So what is kept is bounded by what is in the queue, also where the queue is never empty.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from spoolmw.agents.condorlink.eventlog import EventLog
from spoolmw.agents.condorlink.eventnews import News

MOST_BYTES = 16 << 20  #: of a log of our own that new jobs write into


class EventLogs:
    """`events.log`, `events.log.1`, ..., or one that is somebody else's, as it is."""

    def __init__(self, path: Path, *, is_own: bool) -> None:
        self._path = path
        self._is_own = is_own
        self._logs: dict[int, EventLog] = {}

    @property
    def newest(self) -> str:
        """The path of the one that new jobs write into."""
        return self._name(max(self._logs, default=0))

    def open(self, in_use: Collection[str]) -> None:
        """Begin at the present ends of those that jobs write into, `in_use`, and of the newest."""
        self.close()
        there = self._there() if self._is_own else [0]
        last = there[-1] if there and (in_use or not self._is_own) else 0
        for number in there:
            if number != last and self._name(number) not in in_use:
                self._remove(number)
        if self._is_own and not in_use:
            self._remove(last)
        for number in sorted({*filter(lambda n: self._name(n) in in_use, there), last}):
            self._follow(number)

    def keep(self, in_use: Collection[str]) -> None:
        """Remove the old that no job writes into any more; begin another when the newest is large."""
        if not self._is_own or not self._logs:
            return
        last = max(self._logs)
        for number in [n for n in self._logs if n != last and self._name(n) not in in_use]:
            self._logs.pop(number).close()
            self._remove(number)
        if self._logs[last].size > MOST_BYTES:
            if self.newest in in_use:
                self._follow(last + 1)
            else:
                self._logs[last].open_anew()

    def open_anew(self) -> None:
        """One is odd: nothing in them can be relied on, and new jobs write into a fresh one."""
        last = max(self._logs, default=0)
        for number in [each for each in self._logs if each != last]:
            self._logs.pop(number).start_afresh()
        if last in self._logs:
            self._logs[last].open_anew()

    def close(self) -> None:
        for each in self._logs.values():
            each.close()
        self._logs.clear()

    @property
    def is_blind(self) -> bool:
        """Whether one cannot be read at present."""
        return any(each.is_blind for each in self._logs.values())

    def oddity(self) -> str:
        """What is wrong with one, as `EventLog.oddity`; empty: nothing."""
        return next(filter(None, (each.oddity() for each in self._logs.values())), "")

    def news(self) -> Iterator[News]:
        """What came since the last look, oldest log first. Raises OddLog for what is no log."""
        for number in sorted(self._logs):
            yield from self._logs[number].news()

    def _follow(self, number: int) -> None:
        log = EventLog(self._name(number), is_own=self._is_own)
        log.open()
        self._logs[number] = log

    def _name(self, number: int) -> str:
        return f"{self._path}.{number}" if number else str(self._path)

    def _remove(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._name(number))

    def _there(self) -> list[int]:
        """The numbers of those that lie in the folder, in order."""
        start = f"{self._path.name}."
        with contextlib.suppress(OSError):
            names = os.listdir(self._path.parent)
            ends = [each.removeprefix(start) for each in names if each.startswith(start)]
            numbers = [int(each) for each in ends if each.isascii() and each.isdecimal()]
            return sorted([*numbers, *([0] if self._path.name in names else [])])
        return []
