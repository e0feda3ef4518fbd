"""All that the front end has in hand: attempts that wait, results that hosts have, files for both.

Rule 1: an attempt is known while the daemon waits for it; a row, from when it is sent until the
daemon released the attempt and its host can no longer have it. Each may be there without the other.
Rule 2: a file is served while a row names it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from spoolmw.agents.boinclink.course import Course
from spoolmw.agents.boinclink.listing import Listed
from spoolmw.agents.boinclink.matching import Lines
from spoolmw.agents.boinclink.records import SENT, Records, Row
from spoolmw.agents.carrier.book import Given
from spoolmw.runner.order import split

_SHORT_S = 60.0  #: a client that calls in vain once calls again after such a time
_LONGEST_PAUSE_S = 4 * 3600.0  #: of a client that cannot reach its project


@dataclass(slots=True, eq=False)
class Job:
    """One attempt that the daemon waits for."""

    given: Given
    packet: str
    is_overdue: bool = False  #: called lost; a late report of it counts all the same
    is_landing: bool = False  #: what it brought is being looked at
    is_told: bool = False  #: how it ended is told

    @property
    def attempt(self) -> str:
        return self.given.attempt


class Lying(NamedTuple):
    """Where a file lies that clients may ask for, below the spool, and how long it is."""

    path: str
    nbytes: int


class Holdings:
    """Kept in memory; `records` has of it what must outlive this process."""

    def __init__(self, records: Records, lines: Lines) -> None:
        self._records = records
        self.lines = lines
        self.course = Course()
        self.jobs: dict[str, Job] = {}
        self.rows: dict[str, Row] = {}
        self._of_host: dict[int, dict[str, Row]] = {}
        self._due: list[tuple[float, str]] = []
        self._files: dict[
            str, list[Any]
        ] = {}  #: name: what lies there, and how many rows name it
        self._left: list[str] = []  #: attempts whose upload is not needed any more

    def remember(self, row: Row, listed: Listed) -> None:
        """A row of an earlier process."""
        self._enter(row, listed)

    # -- what the daemon wants

    def enter(self, work: Iterable[Any]) -> Iterator[Job]:
        """The attempts of a launch frame's work; those that are known stay as they are."""
        for kind, packets in work:
            for packet in packets:
                attempt, token, path = packet.split("\n", 3)[:3]
                if attempt in self.jobs:
                    continue
                job = Job(Given(attempt, token, split(path)[0], kind), packet)
                self.jobs[attempt] = job
                self.course.begins(attempt)
                if attempt not in self.rows:
                    self.lines.enter(attempt, kind)
                yield job

    def forget(self, attempt: str) -> None:
        """The daemon waits for it no more; its host may have it still, and is told to end it."""
        job = self.jobs.pop(attempt, None)
        if job is not None:
            self.course.ends(attempt)
        self.lines.leave(attempt)
        row = self.rows.get(attempt)
        if row is None:
            return
        is_overdue = job is not None and job.is_overdue  # its host may never call again
        if row.state == SENT and not is_overdue:
            self.unwant(row)
        else:
            self.drop(row)

    def unwant(self, row: Row) -> None:
        """Nobody waits for what this host has."""
        if not row.is_unwanted:
            row.is_unwanted = True
            self._records.change(row, can_wait=True)

    def waits_again(self, job: Job) -> None:
        """It could not be sent."""
        if job.attempt in self.jobs:
            self.lines.enter(job.attempt, job.given.kind)

    # -- what hosts have

    def send(self, row: Row, listed: Listed) -> None:
        """A result goes to a host; it is durable with the next commit."""
        self._enter(row, listed)
        self._records.send(row, listed.told(), listed.order)

    def ended(self, row: Row, state: int, report: str) -> None:
        """Its host has reported it: it has it no more."""
        row.state, row.report = state, report
        self._of_host.get(row.host, {}).pop(row.attempt, None)
        self._records.change(row)

    def drop(self, row: Row) -> None:
        """Neither the daemon nor its host can ask for it again."""
        if self.rows.pop(row.attempt, None) is None:
            return
        self._of_host.get(row.host, {}).pop(row.attempt, None)
        if not self._of_host.get(row.host, True):
            del self._of_host[row.host]
        for name in row.files:
            self._let_go(name)
        self._left.append(row.attempt)
        self._records.drop(row.attempt)

    def at(self, host: int) -> list[Row]:
        """What a host may have."""
        return list(self._of_host.get(host, {}).values())

    def count_at(self, host: int) -> int:
        """How many that are."""
        return len(self._of_host.get(host, ()))

    def overdue(self, now: float) -> list[Row]:
        """What should have been reported by now; each is told once."""
        found: list[Row] = []
        while self._due and self._due[0][0] <= now:
            _, attempt = heapq.heappop(self._due)
            row = self.rows.get(attempt)
            if row is None or row.state != SENT:
                continue
            if row.deadline > now:  # it was put off
                heapq.heappush(self._due, (row.deadline, attempt))
            else:
                found.append(row)
        return found

    def put_off(self, alive: float, now: float) -> None:
        """The time since `alive`, in which nobody could report, counts for no deadline, nor does
        the time that clients wait after as many failures before they try again."""
        away_s = now - alive
        if away_s < _SHORT_S:
            return
        for row in self.rows.values():
            if row.state == SENT and row.deadline > alive:
                row.deadline += away_s + min(away_s, _LONGEST_PAUSE_S)
                self._records.change(row)

    # -- files

    def file_of(self, name: str) -> Lying | None:
        """Where the file of this name lies, if a row names it."""
        found = self._files.get(name)
        return found[0] if found else None

    def left(self) -> list[str]:
        """Attempts whose uploads may go; each is told once."""
        left, self._left = self._left, []
        return left

    def _enter(self, row: Row, listed: Listed) -> None:
        self.rows[row.attempt] = row
        if row.state == SENT:
            self._of_host.setdefault(row.host, {})[row.attempt] = row
            heapq.heappush(self._due, (row.deadline, row.attempt))
        for each in listed.files:
            if each.path:
                held = self._files.setdefault(each.name, [None, 0])
                held[0] = Lying(each.path, each.nbytes)  # the newest: it stays the longest
                held[1] += 1
        row.files = tuple(each.name for each in listed.files if each.path)

    def _let_go(self, name: str) -> None:
        found = self._files.get(name)
        if found is not None:
            found[1] -= 1
            if found[1] <= 0:
                del self._files[name]
