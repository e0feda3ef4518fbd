"""When running replicas are overdue. The rows hold the deadlines; this is only their order."""

from __future__ import annotations

from heapq import heappop, heappush

from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Replica, ReplicaState


class Deadlines:
    """The deadlines of attempts under way, the next one first. An attempt that ended is passed over."""

    def __init__(self) -> None:
        self._order: list[tuple[float, AttemptId]] = []
        self._until: dict[AttemptId, float] = {}

    def follow(self, before: Replica | None, after: Replica | None) -> None:
        """Take up a replica's change; None: it was not there, or is no more."""
        old, new = _open(before), _open(after)
        if old is not None and old != new:
            self._until.pop(old, None)
        if after is not None and new is not None and new not in self._until:
            self._until[new] = after.until
            heappush(self._order, (after.until, new))

    def due(self, now: float) -> list[AttemptId]:
        """The attempts whose deadline is over at `now` (boot-time clock), each told once."""
        found: list[AttemptId] = []
        while (at := self.next_due()) is not None and at <= now:
            _, attempt = heappop(self._order)
            if self._until.pop(attempt, None) is not None:
                found.append(attempt)
        return found

    def next_due(self) -> float | None:
        """When the next deadline is over; None if there is none."""
        while self._order and self._until.get(self._order[0][1]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0][0] if self._order else None


def _open(replica: Replica | None) -> AttemptId | None:
    """The attempt of it that has a deadline to meet."""
    if replica is None or replica.state is not ReplicaState.RUNNING:
        return None
    return replica.attempt_id if replica.until and not replica.overdue else None
