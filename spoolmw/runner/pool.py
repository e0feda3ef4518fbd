"""Hands attempts to warm workers: who gets what, how many at once, and what is taken back.

Rule 1: no more cores are given away than there are slots; a worker that holds attempts holds
the cores of the one at hand.
Rule 2: first come, first served. What does not fit blocks what comes after it, so that nothing
starves.
Rule 3: a validation has no core of its own and waits for none; how many there are at once is the
daemon's matter.
Rule 4: several attempts wait inside a worker only while they are short (about WORK_S of work).
"""

from __future__ import annotations

import os
from collections import deque
from typing import Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

from . import results
from .attempt import Attempt
from .crew import Member, Place
from .interpreter import Interpreters, NotFound
from .results import Ended

WORK_S = 0.01  #: of work that waits inside a worker
MAX_DEPTH = 128  #: attempts inside a worker at most
#: No attempt is shorter; two looks in one turn of the loop may have the same time.
SHORTEST_S = 1e-5
_WEIGHT = 0.1  #: of one attempt in the moving average of durations
MOST_REST_S = 0.005  #: each time the runner wakes, agent and daemon do too
_RESTFUL = 4  #: attempts inside every worker that let the runner rest
_SPARE = 2  #: idle workers of other interpreters are kept, up to so many times the slots


class Pool:
    """The workers of a runner and the attempts that wait for them."""

    def __init__(
        self,
        place: Place,
        slots: int,
        devices: Sequence[str],
        interpreters: Interpreters,
        watch: Callable[[Member], None],
    ) -> None:
        self.slots = slots
        self.crew: Dict[str, Member] = {}
        self.known: Dict[str, Attempt] = {}
        self._place = place
        self._free_devices = list(devices)
        self._interpreters = interpreters
        self._watch = watch
        self._waiting: Deque[Attempt] = deque()
        self._average_s = WORK_S
        self._made = 0
        #: Attempts that no worker can be found for; the loop makes failures of them.
        self.hopeless: List[Tuple[Attempt, Ended]] = []

    @property
    def depth(self) -> int:
        """How many attempts a worker may hold now."""
        return max(1, min(MAX_DEPTH, int(WORK_S / self._average_s)))

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Take attempts; one that is known already is not taken twice."""
        for attempt in attempts:
            if attempt.id not in self.known:
                self.known[attempt.id] = attempt
                if attempt.kind.judges:
                    self._waiting.appendleft(attempt)
                else:
                    self._waiting.append(attempt)

    def put_back(self, attempts: Sequence[Attempt]) -> None:
        """Attempts that a worker did not begin wait again, before all others, and hold nothing."""
        for attempt in attempts:
            self.put_back_devices(attempt)
        self._waiting.extendleft(reversed(attempts))

    def forget(self, attempt: Attempt) -> None:
        """An attempt ended, however; its devices are free again."""
        self.known.pop(attempt.id, None)
        if attempt.devices:
            self._free_devices += attempt.devices
            attempt.devices = ()

    def finished(self, member: Member, count: int, now: float) -> None:
        """A worker ended `count` attempts since it was last heard of."""
        each = max((now - member.since) / count, SHORTEST_S)
        self._average_s += (each - self._average_s) * min(1.0, _WEIGHT * count)
        self.slowed(member, now)

    def slowed(self, member: Member, now: float) -> None:
        """The attempt at hand of this worker is another one now."""
        member.since = now
        member.cpus = member.sent[0].kind.cpus if member.sent else 0

    def is_long(self, ran_s: float) -> None:
        """An attempt has run so long already: the average must not be below that."""
        self._average_s = max(self._average_s, ran_s)

    def drop_waiting(self) -> List[Attempt]:
        """Take all that waits out of the pool."""
        dropped = [attempt for attempt in self._waiting if not attempt.dropped]
        self._waiting.clear()
        for attempt in dropped:
            self.forget(attempt)
        return dropped

    def take_first(self, path: str) -> Optional[Attempt]:
        """Take the first attempt in line out of the pool, if it is for this interpreter."""
        for attempt in self._waiting:
            if not attempt.dropped and self._path(attempt) == path:
                self._remove(attempt)
                return attempt
        return None

    def busy(self) -> Iterator[Member]:
        """The workers that hold attempts."""
        return (member for member in self.crew.values() if member.sent)

    def rest_s(self) -> float:
        """How long nobody needs the runner: every slot has short attempts waiting behind the
        one at hand. Reports that come meanwhile are taken together."""
        members = [member for member in self.crew.values() if member.sent]
        least = min((len(member.sent) for member in members), default=0)
        if least < _RESTFUL or len(members) < self.slots:
            return 0.0
        return min(MOST_REST_S, least * self._average_s / 2)

    def dispatch(self, now: float) -> None:
        """Give what waits to the workers that have room."""
        while self._waiting:
            first = self._waiting[0]
            if first.dropped:
                self._waiting.popleft()
            elif first.kind.alone:
                if not self._give_alone(first, now):
                    return
            elif not self._give_plain(now):
                return

    def _give_alone(self, attempt: Attempt, now: float) -> bool:
        kind = attempt.kind
        cpus = min(kind.cpus, self.slots)
        if (cpus and self._free_slots() < cpus) or kind.gpus > len(self._free_devices):
            return False
        member = self._idle_or_new(attempt)
        if member is None:
            return True  # it fell out of the line; the next one may be tried
        if kind.gpus:
            attempt.devices = tuple(self._free_devices[: kind.gpus])
            del self._free_devices[: kind.gpus]
        if not member.give(attempt, now):
            self.put_back_devices(attempt)
            return False
        self._waiting.popleft()
        return True

    def put_back_devices(self, attempt: Attempt) -> None:
        """An attempt did not start: its devices are free again."""
        self._free_devices += attempt.devices
        attempt.devices = ()

    def _give_plain(self, now: float) -> bool:
        """Fill the workers that fit the first one in line, evenly; False when none has room."""
        first = self._waiting[0]
        path = self._path(first)
        if path is None:
            return True
        given = self._fill_free_slots(path, now)
        depth = self.depth
        team = [
            each
            for each in self.crew.values()
            if each.sent and each.interpreter == path and _takes_more(each, depth)
        ]
        level = min((len(each.sent) for each in team), default=depth)
        while level < depth and self._waiting:
            for each in team:
                if len(each.sent) <= level and not self._give_next(each, path, now):
                    return given
                given = True
            level += 1
        return given

    def _fill_free_slots(self, path: str, now: float) -> bool:
        """Give one attempt to each free slot, where a worker is idle or can be started."""
        given = False
        free = self._free_slots()
        while free > 0 and self._waiting:
            attempt = self._waiting[0]
            if attempt.dropped or attempt.kind.alone or self._path(attempt) != path:
                break
            member = self._idle_or_new(attempt)
            if member is None:
                return True
            if not member.give(attempt, now):
                break
            self._waiting.popleft()
            given = True
            free -= 1
        return given

    def _give_next(self, member: Member, path: str, now: float) -> bool:
        """Give the next in line to a busy worker; False when it cannot have it."""
        if not self._waiting:
            return False
        attempt = self._waiting[0]
        kind = attempt.kind
        if attempt.dropped or kind.alone or (kind.path or self._path(attempt)) != path:
            return False
        if not member.give(attempt, now):
            return False
        self._waiting.popleft()
        return True

    def _path(self, attempt: Attempt) -> Optional[str]:
        """The interpreter for an attempt; without one it falls out of the line."""
        kind = attempt.kind
        if kind.path:
            return kind.path
        try:
            kind.path = self._interpreters.choose(kind.interpreter, kind.python)
            return kind.path
        except NotFound as error:
            self.hopeless.append((attempt, results.failed("interpreter", str(error))))
            self._remove(attempt)
            return None

    def _idle_or_new(self, attempt: Attempt) -> Optional[Member]:
        path = self._path(attempt)
        if path is None:
            return None
        for member in self.crew.values():
            if not member.sent and not member.retired and member.interpreter == path:
                return member
        attempt.kind.path = ""  # it may be gone meanwhile
        path = self._path(attempt)
        return None if path is None else self._start(path, attempt)

    def _start(self, path: str, attempt: Attempt) -> Optional[Member]:
        self._make_room()
        self._made += 1
        try:
            member = Member(f"{self._place.agent}-{self._made}", path, self._place)
        except OSError as error:
            text = f"{path} could not be started: {error.strerror}"
            fits = os.access(path, os.X_OK)  # then it is not the interpreter that is missing
            ended = results.refused(text) if fits else results.failed("interpreter", text)
            self.hopeless.append((attempt, ended))
            self._remove(attempt)
            return None
        self.crew[member.name] = member
        self._watch(member)
        return member

    def _make_room(self) -> None:
        """End an idle worker (the one idle for longest) when there are many."""
        if len(self.crew) < _SPARE * self.slots:
            return
        idle = [each for each in self.crew.values() if not each.sent and not each.retired]
        if idle:
            min(idle, key=lambda each: each.since).kill()

    def _remove(self, attempt: Attempt) -> None:
        self._waiting.remove(attempt)
        self.forget(attempt)

    def _free_slots(self) -> int:
        return self.slots - sum(each.cpus for each in self.crew.values() if each.sent)


def _takes_more(member: Member, depth: int) -> bool:
    if member.retired or len(member.sent) >= depth:
        return False
    at_hand = member.sent[0]
    return not at_hand.kind.alone and at_hand.verdict is None
