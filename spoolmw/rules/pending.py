"""The replicas that wait for a slot: the half of the ready queue for tasks with redundancy.

Replicas that ask for the same and may run at the same places share a lane: where the first one
may not run none of them may, so a lane is passed over as a whole. The order is the tasks' own,
then the replicas' numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.replica import Ballot, Replica, ReplicaState
from spoolmw.model.spec import Resources
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.independence import Apart, apart

SEQ_BITS: Final = 48
SEQ_MASK: Final = (1 << SEQ_BITS) - 1
_STALE_AT_LEAST: Final = 64  #: forgotten entries, before a lane is built anew
_PLACED: Final = (TaskState.QUEUED, TaskState.RUNNING, TaskState.VALIDATING)


class Demand(NamedTuple):
    """What an attempt needs of the agent that runs it. Those with equal demand share a lane.

    `memory_bytes` may have grown by `[retry] memory`; the user asked for `least_memory_bytes`.
    """

    agents: tuple[str, ...]
    cpus: int
    memory_bytes: int
    gpus: int
    least_memory_bytes: int
    apart: Apart | None = None  #: of a replica: where its task has no vote yet
    python: str = ""  #: of a call: the minor version that it was pickled with
    is_guarded: bool = (
        False  #: several must agree, on what runs nothing: anybody's host will do
    )

    def names(self, agent: AgentName) -> bool:
        """Whether the user allows this agent: any, or by its name, or `lab` for all `lab:...`."""
        allowed = self.agents
        return not allowed or agent in allowed or agent.partition(":")[0] in allowed

    @property
    def is_plain(self) -> bool:
        """One cpu and nothing else: such attempts may also wait at the agent itself."""
        return self.cpus == 1 and not self.memory_bytes and not self.gpus


def rank(task: Task) -> int:
    """The task's place in the order: a smaller number goes first."""
    return (-task.priority << SEQ_BITS) + task.seq


def demand_of_replica(task: Task, ballot: Ballot, replica: Replica) -> Demand:
    """What the next attempt of `replica` needs."""
    wants = task.spec.resources
    return Demand(
        task.spec.place.agents,
        wants.cpus,
        replica.memory_bytes,
        wants.gpus,
        wants.memory_bytes,
        apart(ballot, replica.number),
        python_of(task),
        is_guarded=ballot.wish.quorum > 1 and task.spec.run.result != "pickle",
    )


def python_of(task: Task) -> str:
    """The Python that a task asks for; a command asks for none."""
    return "" if task.spec.run.command or task.spec.run.script else task.spec.place.python


WHOLE: Final = -1  #: in the place of a replica's number: the task has no redundancy

Taken = tuple[TaskId, Resources, int]
"""Who was taken out of a lane: the task, what it asks for, and which replica, or WHOLE."""


class Pending(NamedTuple):
    """One replica that waits for a slot, from `not_before` on (boot-time clock)."""

    task: TaskId
    number: int
    rank: int
    demand: Demand
    wants: Resources
    not_before: float


def pending(task: Task) -> dict[int, Pending]:
    """The replicas of `task` that wait for a slot, by number."""
    ballot = task.ballot
    if ballot is None or task.state not in _PLACED:
        return {}
    return {
        each.number: Pending(
            task.id,
            each.number,
            rank(task),
            demand_of_replica(task, ballot, each),
            task.spec.resources,
            each.not_before,
        )
        for each in ballot.replicas
        if each.state is ReplicaState.PENDING
    }


class ReplicaLane:
    """The replicas of one demand, first in order on top."""

    __slots__ = ("_heap", "_here", "_queue", "demand", "entered", "serial")

    def __init__(self, demand: Demand, queue: ReplicaQueue, serial: int) -> None:
        self.demand = demand
        self.serial = serial
        self.entered: int | None = None  #: the rank by which its family knows it
        self._queue = queue
        self._heap: list[tuple[int, int]] = []
        self._here: dict[tuple[int, int], Pending] = {}

    def __len__(self) -> int:
        return len(self._here)

    def push(self, one: Pending) -> None:
        entry = one.rank, one.number
        self._here[entry] = one
        heappush(self._heap, entry)

    def remove(self, one: Pending) -> None:
        """Forget it; its entry is dropped when it comes to the top, or when there are too many."""
        del self._here[one.rank, one.number]
        if len(self._heap) > max(_STALE_AT_LEAST, 2 * len(self._here)):
            self._heap = list(self._here)
            heapify(self._heap)

    def head(self) -> int | None:
        """The rank of the first replica, or None."""
        heap = self._heap
        while heap and heap[0] not in self._here:
            heappop(heap)
        return heap[0][0] if heap else None

    def take(self) -> Taken:
        """Take out the first replica; `head()` was just asked and is not None."""
        first = self._here[self._heap[0]]
        self._queue.take(first)
        return first.task, first.wants, first.number

    def count_before(self, entry: int) -> int:
        """Of how many tasks it has replicas that rank before `entry`; looks at each one."""
        return len({task for task, _ in self._here if task < entry})


class Family:
    """The lanes that differ only in where their tasks have votes already, first in order on top.

    With thousands of hosts there are thousands of these: whoever serves them takes one after the
    other, and looks at no more than it needs. What was taken comes back with `restore`.
    """

    __slots__ = ("_aside", "_heap", "_tidy_at")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, ReplicaLane]] = []
        self._aside: list[ReplicaLane] = []
        self._tidy_at = _STALE_AT_LEAST  #: so many entries, and those forgotten are looked for

    def enter(self, lane: ReplicaLane) -> None:
        """Know `lane` by the rank of its first replica; not needed for one that only moved back."""
        head = lane.head()
        if head is not None and (lane.entered is None or head < lane.entered):
            lane.entered = head
            heappush(self._heap, (head, lane.serial, lane))
            if len(self._heap) > self._tidy_at:
                self._tidy()

    def head(self) -> int | None:
        """The rank of the first replica of all, or None."""
        heap = self._heap
        while heap:
            known, _, lane = heap[0]
            if lane.entered == known:
                head = lane.head()
                if head == known:
                    return head
                lane.entered = None
                self.enter(lane)
            heappop(heap)
        return None

    def take(self) -> ReplicaLane:
        """The first lane; `head()` was just asked and is not None."""
        _, _, lane = heappop(self._heap)
        lane.entered = None
        self._aside.append(lane)
        return lane

    def restore(self) -> None:
        """All that was taken is there again, as far as something waits in it."""
        for lane in self._aside:
            self.enter(lane)
        self._aside.clear()

    def _tidy(self) -> None:
        """Forget lanes that are empty, and ranks that lanes had before."""
        self._heap = [each for each in self._heap if each[2].entered == each[0] and each[2]]
        heapify(self._heap)
        self._tidy_at = _STALE_AT_LEAST + 2 * len(self._heap)


class ReplicaQueue:
    """All pending replicas: those that may start now, and those whose backoff has not ended."""

    def __init__(self) -> None:
        self._known: dict[TaskId, dict[int, Pending]] = {}
        self._later: dict[tuple[TaskId, int], Pending] = {}
        self._due: list[tuple[float, TaskId, int]] = []
        self._lanes: dict[Demand, ReplicaLane] = {}
        self._families: dict[Demand, Family] = {}
        self._serials = itertools.count()
        self._ready = 0

    def __len__(self) -> int:
        return self.ready_count + len(self._later)

    @property
    def ready_count(self) -> int:
        """How many may start now."""
        return self._ready

    def put(self, task: Task, now: float) -> None:
        """Let the pending replicas of `task` wait, and no others of it; replaces older records."""
        wanted = pending(task)
        known = self._known.get(task.id, {})
        for number, old in known.items():
            if wanted.get(number) != old:
                self._remove(old)
        for number, new in wanted.items():
            if known.get(number) != new:
                self._add(new, now)
        if wanted:
            self._known[task.id] = wanted
        else:
            self._known.pop(task.id, None)

    def take(self, one: Pending) -> None:
        """Forget one that is placed."""
        self._remove(one)
        del self._known[one.task][one.number]

    def wake(self, now: float) -> int:
        """Let those whose backoff has ended join the others; how many these were."""
        woken = 0
        while self._due and self._due[0][0] <= now:
            one = self._due_one(heappop(self._due))
            if one is not None:
                del self._later[one.task, one.number]
                self._make_ready(one)
                woken += 1
        return woken

    def next_due(self) -> float | None:
        """When the next backoff ends; None if there is none."""
        while self._due and self._due_one(self._due[0]) is None:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def lanes(self) -> Iterator[tuple[int, ReplicaLane]]:
        """Each lane in which a replica may start now, with the rank of its first one."""
        for lane in self._lanes.values():
            head = lane.head()
            if head is not None:
                yield head, lane

    def families(self) -> Iterator[tuple[int, Family]]:
        """The same lanes by their families, with the rank of the first replica of each."""
        empty = []
        for demand, family in self._families.items():
            head = family.head()
            if head is None:
                empty.append(demand)
            else:
                yield head, family
        for demand in empty:
            del self._families[demand]

    def count_before(self, entry: int, matters: Callable[[Demand], bool]) -> int:
        """How many tasks have replicas of the demands that matter before `entry`."""
        return sum(
            lane.count_before(entry) for lane in self._lanes.values() if matters(lane.demand)
        )

    def _due_one(self, entry: tuple[float, TaskId, int]) -> Pending | None:
        one = self._later.get(entry[1:])
        return one if one is not None and one.not_before == entry[0] else None

    def _add(self, one: Pending, now: float) -> None:
        if one.not_before > now:
            self._later[one.task, one.number] = one
            heappush(self._due, (one.not_before, one.task, one.number))
        else:
            self._make_ready(one)

    def _make_ready(self, one: Pending) -> None:
        lane = self._lanes.get(one.demand)
        if lane is None:
            lane = ReplicaLane(one.demand, self, next(self._serials))
            self._lanes[one.demand] = lane
        lane.push(one)
        self._ready += 1
        base = one.demand._replace(apart=None)
        family = self._families.get(base)
        if family is None:
            family = self._families[base] = Family()
        family.enter(lane)

    def _remove(self, one: Pending) -> None:
        if self._later.pop((one.task, one.number), None) is not None:
            return
        lane = self._lanes[one.demand]
        lane.remove(one)
        self._ready -= 1
        if not lane:
            del self._lanes[one.demand]
