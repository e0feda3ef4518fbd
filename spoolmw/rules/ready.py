"""The ready queue: which tasks wait for a slot, in order, at little cost for each.

The order is (highest priority, then first accepted). Tasks with equal demand share a lane, so
that what does not fit is skipped as a whole. A lane is a heap of plain integers that hold
priority and `seq`; a task that leaves is only forgotten, and its integer is dropped when it
comes to the top. Tasks in a backoff are kept aside until it ends. The replicas of tasks with
redundancy have lanes of their own (`rules.pending`) in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from spoolmw.model.task import Task
from spoolmw.rules.pending import (
    SEQ_MASK,
    WHOLE,
    Demand,
    Family,
    ReplicaLane,
    ReplicaQueue,
    Taken,
    python_of,
    rank,
)

_STALE_AT_LEAST: Final = 1024  #: forgotten entries, before a lane is built anew


def demand_of(task: Task) -> Demand:
    """What the next attempt of `task` needs."""
    wants = task.spec.resources
    return Demand(
        task.spec.place.agents,
        wants.cpus,
        task.memory_bytes,
        wants.gpus,
        wants.memory_bytes,
        python=python_of(task),
    )


class Lane:
    """The tasks of one demand, first in order on top."""

    __slots__ = ("_heap", "_tasks", "demand", "is_plain")

    def __init__(self, demand: Demand, tasks: dict[int, Task]) -> None:
        self.demand = demand
        self.is_plain = demand.is_plain
        self._tasks = tasks
        self._heap: list[int] = []

    def __len__(self) -> int:
        """Entries, those that are forgotten among them."""
        return len(self._heap)

    def push(self, task: Task) -> None:
        heappush(self._heap, rank(task))

    def head(self) -> int | None:
        """The rank of the first task, or None; drops what was forgotten."""
        heap = self._heap
        while heap:
            if self._task(heap[0]) is not None:
                return heap[0]
            heappop(heap)
        return None

    def take(self) -> Taken:
        """Take out the first task; `head()` was just asked and is not None."""
        task = self._tasks.pop(heappop(self._heap) & SEQ_MASK)
        return task.id, task.spec.resources, WHOLE

    def count_before(self, entry: int) -> int:
        """How many of its tasks rank before `entry`; looks at each one."""
        return len({e for e in self._heap if e < entry and self._task(e) is not None})

    def tidy(self) -> None:
        """Build the heap anew without what was forgotten."""
        self._heap = list({each for each in self._heap if self._task(each) is not None})
        heapify(self._heap)

    def _task(self, entry: int) -> Task | None:
        task = self._tasks.get(entry & SEQ_MASK)
        if task is None or rank(task) != entry or task.memory_bytes != self.demand.memory_bytes:
            return None
        return task


class ReadyQueue:
    """All QUEUED tasks: those that may start now, and those whose backoff has not ended.

    `replicas` holds the pending replicas of tasks with redundancy; those are put there.
    """

    def __init__(self) -> None:
        self.replicas = ReplicaQueue()
        self._ready: dict[int, Task] = {}
        self._later: dict[int, Task] = {}
        self._due: list[tuple[float, int]] = []
        self._lanes: dict[Demand, Lane] = {}
        self._stale = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._later) + len(self.replicas)

    def __contains__(self, task: Task) -> bool:
        return task.seq in self._ready or task.seq in self._later

    @property
    def ready_count(self) -> int:
        """How many may start now."""
        return len(self._ready) + self.replicas.ready_count

    def push(self, task: Task, now: float) -> None:
        """Let `task` wait for a slot from `not_before` on; replaces an older record of it."""
        self.discard(task)
        if task.not_before > now:
            self._later[task.seq] = task
            heappush(self._due, (task.not_before, task.seq))
        else:
            self._make_ready(task)

    def discard(self, task: Task) -> None:
        """Forget `task`, whichever record of it is given; it need not be here."""
        if self._ready.pop(task.seq, None) is not None:
            self._stale += 1
            if self._stale > max(_STALE_AT_LEAST, len(self._ready)):
                self._tidy()
        else:
            self._later.pop(task.seq, None)

    def wake(self, now: float) -> int:
        """Let those whose backoff has ended join the others; how many these were."""
        woken = 0
        while self._due and self._due[0][0] <= now:
            not_before, seq = heappop(self._due)
            task = self._later.get(seq)
            if task is not None and task.not_before == not_before:
                del self._later[seq]
                self._make_ready(task)
                woken += 1
        return woken + self.replicas.wake(now)

    def next_due(self) -> float | None:
        """When the next backoff ends, on the clock of `not_before`; None if there is none."""
        due = self.replicas.next_due()
        while self._due:
            not_before, seq = self._due[0]
            task = self._later.get(seq)
            if task is not None and task.not_before == not_before:
                return not_before if due is None else min(not_before, due)
            heappop(self._due)
        return due

    def lanes(self) -> Iterator[tuple[int, Lane | ReplicaLane]]:
        """Each lane in which one may start now, with the rank of its first one."""
        yield from self._plain_lanes()
        yield from self.replicas.lanes()

    def _plain_lanes(self) -> Iterator[tuple[int, Lane]]:
        empty = []
        for demand, lane in self._lanes.items():
            head = lane.head()
            if head is None:
                empty.append(demand)
            else:
                yield head, lane
        for demand in empty:
            del self._lanes[demand]

    def heads(self) -> Iterator[tuple[int, Lane | Family]]:
        """As `lanes`, with those of replicas by their families."""
        yield from self._plain_lanes()
        yield from self.replicas.families()

    def count_before(self, task: Task, matters: Callable[[Demand], bool]) -> int:
        """How many tasks of the demands that matter go before `task`; looks at each of them."""
        mine = rank(task)
        plain = sum(
            lane.count_before(mine) for lane in self._lanes.values() if matters(lane.demand)
        )
        return plain + self.replicas.count_before(mine, matters)

    def _make_ready(self, task: Task) -> None:
        self._ready[task.seq] = task
        demand = demand_of(task)
        lane = self._lanes.get(demand)
        if lane is None:
            lane = self._lanes[demand] = Lane(demand, self._ready)
        lane.push(task)

    def _tidy(self) -> None:
        for lane in self._lanes.values():
            lane.tidy()
        self._stale = 0
