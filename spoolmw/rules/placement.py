"""Placement: which waiting task gets which room, and the one true reason why a task waits.

Strictly in order: where the first task that an agent could ever run does not fit now, none
behind it may take that agent's room, so a task that needs much is not starved by small ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from spoolmw.model.agent import Capacity
from spoolmw.model.attempt import Ran
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.ready import Demand, Lane, ReadyQueue, demand_of


@dataclass(slots=True)
class Room:
    """What an agent has, and how much of it is taken by attempts that hold a lease.

    Whoever assigns calls claim(), whoever ends the lease release() with the record that held
    it. `paused` says why nothing may be assigned here; "" means that it may.
    """

    capacity: Capacity
    paused: str = ""
    trouble: str = ""  #: why the agent says that it can take nothing (CapacityChanged.reason)
    cpus: int = field(default=0, init=False)  #: taken; may exceed the slots by `capacity.queue`
    memory_bytes: int = field(default=0, init=False)  #: taken
    gpus: int = field(default=0, init=False)  #: taken
    attempts: int = field(default=0, init=False)  #: that hold a lease here

    def claim(self, task: Task) -> None:
        """Count what the next or current attempt of `task` takes."""
        wants = task.spec.resources
        self.cpus += wants.cpus
        self.memory_bytes += task.memory_bytes
        self.gpus += wants.gpus
        self.attempts += 1

    def release(self, task: Task) -> None:
        """Give back what the attempt of `task`, the record that held the lease, took."""
        wants = task.spec.resources
        self.cpus -= wants.cpus
        self.memory_bytes -= task.memory_bytes
        self.gpus -= wants.gpus
        self.attempts -= 1

    def could_run(self, demand: Demand) -> bool:
        """Whether this agent, all of it being free, has what is demanded."""
        has = self.capacity
        return (
            demand.cpus <= has.slots
            and demand.gpus <= has.gpus
            and (not has.memory_bytes or demand.least_memory_bytes <= has.memory_bytes)
        )

    def fits(self, demand: Demand) -> bool:
        """Whether there is room now, for one that `could_run` here."""
        has = self.capacity
        if demand.is_plain:
            return self.cpus < has.slots + has.queue
        return (
            self.cpus + demand.cpus <= has.slots
            and self.gpus + demand.gpus <= has.gpus
            and self._memory_fits(demand)
        )

    def _memory_fits(self, demand: Demand) -> bool:
        total = self.capacity.memory_bytes
        if not total or not demand.memory_bytes:
            return True
        return self.memory_bytes + min(demand.memory_bytes, total) <= total

    @property
    def free_slots(self) -> int:
        """Below zero where attempts wait at the agent."""
        return self.capacity.slots - self.cpus


def memory_limit(memory_bytes: int, room: Room) -> int:
    """An attempt's memory limit: what it asks for, at most all that the agent has.

    Only what `[retry] memory` added can be more than that.
    """
    total = room.capacity.memory_bytes
    return min(memory_bytes, total) if total else memory_bytes


def assign(
    ready: ReadyQueue, rooms: Mapping[AgentName, Room]
) -> list[tuple[TaskId, AgentName]]:
    """Take tasks out of `ready` while there is room, in order, and claim their room."""
    free = {name: room for name, room in rooms.items() if not room.paused}
    given: list[tuple[TaskId, AgentName]] = []
    if not free:
        return given
    heads = [(head, number, lane) for number, (head, lane) in enumerate(ready.lanes())]
    heapify(heads)
    while heads and free:
        _, number, lane = heappop(heads)
        head = _serve(lane, heads[0][0] if heads else None, free, given)
        if head is not None:
            heappush(heads, (head, number, lane))
    return given


def _serve(
    lane: Lane,
    until: int | None,
    free: dict[AgentName, Room],
    given: list[tuple[TaskId, AgentName]],
) -> int | None:
    """Give room to the tasks of `lane` that rank before `until`; returns where it stopped.

    None says that the lane is done with: it is empty, or what it could use is full. Then the
    agents that could have run its first task are closed for all that come behind it.
    """
    demand = lane.demand
    able = [(name, room) for name, room in free.items() if could_run(demand, name, room)]
    if not able:
        return None
    while (head := lane.head()) is not None and (until is None or head < until):
        best = _roomiest(able, demand)
        if best is None:
            for name, _ in able:
                del free[name]
            return None
        task = lane.pop()
        best[1].claim(task)
        given.append((task.id, best[0]))
    return head


def _roomiest(
    able: list[tuple[AgentName, Room]], demand: Demand
) -> tuple[AgentName, Room] | None:
    best = None
    for each in able:
        if each[1].fits(demand) and (best is None or each[1].free_slots > best[1].free_slots):
            best = each
    return best


def could_run(demand: Demand, name: AgentName, room: Room) -> bool:
    """Whether the user allows this agent and it has, all of it being free, what is demanded."""
    return (not demand.agents or name in demand.agents) and room.could_run(demand)


def why(  # noqa: PLR0913  # what a task may wait for is so much
    task: Task,
    rooms: Mapping[AgentName, Room],
    ready: ReadyQueue,
    *,
    now: float,
    halted: str = "",
    first: Task | None = None,
    awaited: str = "",
) -> str:
    """The one true reason why `task` waits, or where it stands if it does not: one line.

    `halted` says why the daemon assigns nothing at all; `first` is the task with its key that a
    WAITING one waits for, `awaited` says what predecessors it waits for.
    """
    match task.state:
        case TaskState.WAITING:
            return awaited or _why_waiting(task, first)
        case TaskState.HELD:
            return _why_held(task, awaited)
        case TaskState.RUNNING | TaskState.EXPANDING | TaskState.VALIDATING:
            return _why_under_way(task)
        case TaskState.DELIVERING:
            return "does not wait: its end is decided and the result is being delivered"
        case TaskState.DONE | TaskState.FAILED | TaskState.CANCELLED:
            return f"does not wait: it ended as {task.state.value}"
        case TaskState.QUEUED:
            return _why_queued(task, rooms, ready, now, halted)


def _why_held(task: Task, awaited: str) -> str:
    if awaited.startswith("not run: "):
        return f"held: {awaited.removeprefix('not run: ')}"
    lets = f"held by the user; `spoolmw-ctl release {task.id}` lets it go on"
    return f"{lets} (then it {awaited})" if awaited else lets


def _why_waiting(task: Task, first: Task | None) -> str:
    state = f", which is {first.state.value}" if first is not None else ""
    return f"waits for the task before it with the same key, {task.twin_of}{state}"


def _why_under_way(task: Task) -> str:
    """Where it runs; of an array, which has no slot of its own to wait for, how far it is."""
    tally = task.tally
    if tally is None:
        agent = task.lease.agent if task.lease else "?"
        return f"does not wait: attempt {task.attempt} runs on {agent}"
    ended = tally.total - tally.unmade - tally.open
    told = f"{ended} of {_count(tally.total, 'element')} ended, {tally.open} open"
    if tally.unmade:
        return f"does not wait: {told}, {tally.unmade} follow as these end"
    if tally.note:
        return f"{tally.note}; waits for the end of what is open: {told}"
    return f"does not wait: {told}"


def _why_queued(
    task: Task, rooms: Mapping[AgentName, Room], ready: ReadyQueue, now: float, halted: str
) -> str:
    if task.not_before > now:
        return _why_backing_off(task, now)
    if halted:
        return f"the daemon assigns nothing: {halted}"
    demand = demand_of(task)
    able = {name: room for name, room in rooms.items() if could_run(demand, name, room)}
    if not able:
        return _why_nowhere(demand, rooms)
    open_rooms = {name: room for name, room in able.items() if not room.paused}
    if not open_rooms:
        paused = "; ".join(f"{name} ({room.paused})" for name, room in able.items())
        return f"paused: {paused}"
    return _why_no_room(task, demand, open_rooms, ready)


def _why_backing_off(task: Task, now: float) -> str:
    last = f" after {_told(task.history[-1])}" if task.history else ""
    return f"pauses for {task.not_before - now:.0f} s more{last}"


def _told(ran: Ran) -> str:
    what = f"{ran.outcome.value} ({ran.cause.value}) of attempt {ran.attempt}"
    return f"the {what}" + (f": {ran.message.splitlines()[0]}" if ran.message.strip() else "")


def _why_nowhere(demand: Demand, rooms: Mapping[AgentName, Room]) -> str:
    """No agent fits, even if all of it were free."""
    wants = [_count(demand.cpus, "cpu")]
    if demand.least_memory_bytes:
        wants.append(f"{_size(demand.least_memory_bytes)} of memory")
    if demand.gpus:
        wants.append(_count(demand.gpus, "gpu"))
    have = [
        f"{name} {_offer(room, demand)}"
        for name, room in rooms.items()
        if not demand.agents or name in demand.agents
    ]
    if not have:
        wanted = f" of those it names ({', '.join(demand.agents)})" if demand.agents else ""
        return f"no agent fits: there is none{wanted}"
    return f"no agent fits: it asks for {', '.join(wants)}; {'; '.join(have)}"


def _offer(room: Room, demand: Demand) -> str:
    has = room.capacity
    if not has.slots:
        return f"can take nothing ({room.trouble or 'it has no slots'})"
    parts = [_count(has.slots, "slot")]
    if demand.least_memory_bytes and has.memory_bytes:
        parts.append(f"{_size(has.memory_bytes)} of memory")
    if demand.gpus:
        parts.append(_count(has.gpus, "gpu"))
    return f"has {', '.join(parts)}"


def _why_no_room(
    task: Task, demand: Demand, rooms: Mapping[AgentName, Room], ready: ReadyQueue
) -> str:
    """It would fit, but what it needs is taken, or others come first."""
    ahead = ready.count_before(
        task,
        lambda other: any(could_run(other, name, room) for name, room in rooms.items()),
    )
    lacks = "; ".join(_lack(name, room, demand) for name, room in rooms.items())
    if ahead:
        verb = "goes" if ahead == 1 else "go"
        return f"{_count(ahead, 'task')} {verb} before it; {lacks}"
    if any(room.fits(demand) for room in rooms.values()):
        return "is next: there is room and it starts at once"
    return f"is next: waits for {lacks}"


def _lack(name: AgentName, room: Room, demand: Demand) -> str:
    """What of this agent is taken that the demand needs."""
    has = room.capacity
    if room.cpus + demand.cpus > has.slots:
        taken = min(room.cpus, has.slots)
        return f"{_count(demand.cpus, 'cpu')} on {name} ({taken} of {has.slots} taken)"
    if room.gpus + demand.gpus > has.gpus:
        return f"{_count(demand.gpus, 'gpu')} on {name} ({room.gpus} of {has.gpus} taken)"
    if not room.fits(demand):
        taken_of = f"{_size(room.memory_bytes)} of {_size(has.memory_bytes)} taken"
        return f"{_size(demand.memory_bytes)} of memory on {name} ({taken_of})"
    return f"{name} has room"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _size(number: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
