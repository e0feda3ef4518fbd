"""Placement: which waiting task, or replica of one, gets which room.

Rule 1: strictly in order. Where the first task that an agent could ever run does not fit now,
none behind it may take that agent's room, so one that needs much is not starved by small ones.
Rule 2: a replica can only use rooms where its task has no vote yet. Where there is none, it
keeps its place and holds nobody up.
Rule 3: an agent that is not trusted (whoever has an account has a host there) is given only
replicas of which two or more must agree, and never one whose value is to be a pickle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.replica import Spot
from spoolmw.model.spec import Resources
from spoolmw.rules.pending import WHOLE, Demand, Family, ReplicaLane
from spoolmw.rules.ready import Lane, ReadyQueue

Able = tuple[AgentName, "Room"]
Given = tuple[TaskId, AgentName, int]
"""Who got a room, where, and which replica, or WHOLE."""


@dataclass(slots=True)
class Room:
    """What an agent has, and how much of it is taken by attempts that hold a lease.

    Whoever assigns calls claim(), whoever ends the lease release() with what was claimed.
    `paused`, `resting` and `barred` say why nothing may be assigned here; "" means that it may.
    """

    capacity: Capacity
    paused: str = ""
    resting: str = ""  #: its launches failed, so it is given nothing for a while
    trouble: str = ""  #: why the agent says that it can take nothing (CapacityChanged.reason)
    barred: str = ""  #: why its host is given nothing
    probes: bool = False  #: but one replica, which may show what a barred host can do
    cpus: int = field(default=0, init=False)  #: taken; may exceed the slots by `capacity.queue`
    memory_bytes: int = field(default=0, init=False)  #: taken
    gpus: int = field(default=0, init=False)  #: taken
    attempts: int = field(default=0, init=False)  #: that hold a lease here
    replicas: int = field(default=0, init=False)  #: those of them that are replicas
    _spot: tuple[Capacity, Spot] | None = field(default=None, init=False, compare=False)

    @property
    def spot(self) -> Spot:
        """Where an attempt runs that is placed here."""
        has = self.capacity
        if self._spot is None or self._spot[0] is not has:
            spot = Spot(
                machine=has.machine, owner=has.owner, platform=has.platform, host=has.host
            )
            self._spot = (has, spot)
        return self._spot[1]

    def closed(self, demand: Demand) -> str:
        """Why nothing of this demand may be assigned here; "" where it may."""
        shut = self.paused or self.resting
        if shut or demand.apart is None or not self.probes:
            return shut or self.barred
        return ""

    def claim(self, wants: Resources, memory_bytes: int, *, replica: bool = False) -> None:
        """Count what an attempt takes; its memory may be more than its task asks for."""
        self.cpus += wants.cpus
        self.memory_bytes += memory_bytes
        self.gpus += wants.gpus
        self.attempts += 1
        self.replicas += replica

    def release(self, wants: Resources, memory_bytes: int, *, replica: bool = False) -> None:
        """Give back what was claimed for an attempt."""
        self.cpus -= wants.cpus
        self.memory_bytes -= memory_bytes
        self.gpus -= wants.gpus
        self.attempts -= 1
        self.replicas -= replica

    def could_run(self, demand: Demand) -> bool:
        """Whether this agent, all of it being free, has what is demanded."""
        has = self.capacity
        return (
            demand.cpus <= has.slots
            and demand.gpus <= has.gpus
            and (not has.memory_bytes or demand.least_memory_bytes <= has.memory_bytes)
            and (not (demand.python and has.pythons) or demand.python in has.pythons)
            and (has.trusted or demand.is_guarded)
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


def assign(ready: ReadyQueue, rooms: Mapping[AgentName, Room]) -> list[Given]:
    """Take tasks out of `ready` while there is room, in order, and claim their room.

    A replica is always the last one given: what follows for its task and its host must be known
    before the next one is placed, so whoever asks asks again.
    """
    free = {name: room for name, room in rooms.items() if not (room.paused or room.resting)}
    given: list[Given] = []
    if not free:
        return given
    heads = [(head, number, lanes) for number, (head, lanes) in enumerate(ready.heads())]
    heapify(heads)
    families = [lanes for _, _, lanes in heads if isinstance(lanes, Family)]
    _serve_all(heads, free, given)
    for each in families:
        each.restore()
    return given


def _serve_all(
    heads: list[tuple[int, int, Lane | Family]],
    free: dict[AgentName, Room],
    given: list[Given],
) -> None:
    """Serve who ranks first, until all is full or a replica was given."""
    while heads and free:
        _, number, lanes = heappop(heads)
        until = heads[0][0] if heads else None
        if isinstance(lanes, Family):
            head = _serve_family(lanes, until, free, given)
        else:
            head = _serve(lanes, until, _able(lanes.demand, free), free, given)
        if given and given[-1][2] != WHOLE:
            return
        if head is not None:
            heappush(heads, (head, number, lanes))


def _serve_family(
    family: Family, until: int | None, free: dict[AgentName, Room], given: list[Given]
) -> int | None:
    """Give room to one replica of `family`, or find that there is none for those before `until`.

    As `_serve`, for one lane after the other. Where no agent fits, wherever the votes are, none of
    the lanes behind need be looked at.
    """
    fit: list[Able] = []
    known, before = -1, len(given)
    while (head := family.head()) is not None and (until is None or head <= until):
        lane = family.take()
        if known != len(free):
            fit, known = _able(lane.demand, free), len(free)
        if not fit:
            return None
        apart = [each for each in fit if is_apart(lane.demand, each[1])]
        _serve(lane, until, apart, free, given)
        if len(given) > before:
            return None
    return head


def _able(demand: Demand, free: Mapping[AgentName, Room]) -> list[Able]:
    """The agents that could run it, wherever its task has votes."""
    return [
        (name, room)
        for name, room in free.items()
        if demand.names(name) and room.could_run(demand) and not room.closed(demand)
    ]


def _serve(
    lane: Lane | ReplicaLane,
    until: int | None,
    able: list[Able],
    free: dict[AgentName, Room],
    given: list[Given],
) -> int | None:
    """Give room at `able` agents to those of `lane` that rank before `until`; returns where it
    stopped.

    None says that the lane is done with: it is empty, or what it could use is full. Then the
    agents that could have run its first task are closed for all that come behind it.
    """
    demand = lane.demand
    if not able:
        return None
    while (head := lane.head()) is not None and (until is None or head <= until):
        best = _roomiest(able, demand)
        if best is None:
            for name, _ in able:
                del free[name]
            return None
        task, wants, replica = lane.take()
        best[1].claim(wants, demand.memory_bytes, replica=replica != WHOLE)
        given.append((task, best[0], replica))
        if replica != WHOLE:
            return None
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
    """Whether the user allows this agent and it has, all of it being free, what is demanded.

    A replica moreover needs a place where its task has no vote yet.
    """
    return demand.names(name) and room.could_run(demand) and is_apart(demand, room)


def is_apart(demand: Demand, room: Room) -> bool:
    """Whether the room's host may cast a further vote on the replica's task."""
    apart = demand.apart
    return apart is None or apart.seat(room.spot, room.capacity.slots) is not None


def slots_wanted(ready: ReadyQueue, names: Collection[AgentName], offer: Capacity) -> int:
    """How many slots the tasks would fill that wait, and could run at a further agent of these
    names that offers so much. Where their replicas have votes already is not looked at."""
    room = Room(offer)
    return sum(
        len(lane) * lane.demand.cpus
        for _, lane in ready.lanes()
        if room.could_run(lane.demand) and any(lane.demand.names(name) for name in names)
    )
