"""The one true reason why a task waits, or where it stands if it does not: one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from spoolmw.model.attempt import Lease, Ran
from spoolmw.model.ids import AgentName
from spoolmw.model.replica import Ballot, Phase, Replica, ReplicaState
from spoolmw.model.task import Task, TaskState
from spoolmw.rules import independence
from spoolmw.rules.pending import Demand, demand_of_replica
from spoolmw.rules.placement import Room, could_run, is_apart
from spoolmw.rules.ready import ReadyQueue, demand_of

#: What an agent asks for whose hosts are anybody's.
_NOT_TRUSTED: Final = (
    "it takes only tasks with [redundancy] quorum = 2 or more, and no pickles as results"
)


class _View(NamedTuple):
    """What there is to be had, and by whom."""

    rooms: Mapping[AgentName, Room]
    ready: ReadyQueue
    now: float
    halted: str


class _Waiting(NamedTuple):
    """A task that waits for a slot, or one replica of it."""

    task: Task
    demand: Demand
    not_before: float
    history: tuple[Ran, ...]


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
    view = _View(rooms, ready, now, halted)
    match task.state:
        case TaskState.WAITING:
            return awaited or _why_waiting(task, first)
        case TaskState.HELD:
            return _why_held(task, awaited)
        case TaskState.DELIVERING:
            return "does not wait: its end is decided and the result is being delivered"
        case TaskState.DONE | TaskState.FAILED | TaskState.CANCELLED:
            return f"does not wait: it ended as {task.state.value}"
        case _:
            return _why_open(task, view)


def _why_open(task: Task, view: _View) -> str:
    if task.ballot is not None:
        return _why_voting(task, task.ballot, view)
    if task.state is TaskState.QUEUED:
        one = _Waiting(task, demand_of(task), task.not_before, task.history)
        return _why_queued(one, view)
    return _why_under_way(task, view)


def _why_held(task: Task, awaited: str) -> str:
    if awaited.startswith("not run: "):
        return f"held: {awaited.removeprefix('not run: ')}"
    lets = f"held by the user; `spoolmw-ctl release {task.id}` lets it go on"
    return f"{lets} (then it {awaited})" if awaited else lets


def _why_waiting(task: Task, first: Task | None) -> str:
    state = f", which is {first.state.value}" if first is not None else ""
    return f"waits for the task before it with the same key, {task.twin_of}{state}"


def _why_under_way(task: Task, view: _View) -> str:
    """Where it runs; of an array, which has no slot of its own to wait for, how far it is."""
    tally = task.tally
    if tally is None:
        agent = task.lease.agent if task.lease else "?"
        waits = _why_there(task, task.lease, view)
        if waits:
            return f"attempt {task.attempt} is at {agent}: {waits}"
        return f"does not wait: attempt {task.attempt} runs on {agent}"
    ended = tally.total - tally.unmade - tally.open
    told = f"{ended} of {_count(tally.total, 'element')} ended, {tally.open} open"
    if tally.unmade:
        return f"does not wait: {told}, {tally.unmade} follow as these end"
    if tally.note:
        return f"{tally.note}; waits for the end of what is open: {told}"
    return f"does not wait: {told}"


def _why_there(one: Task | Replica, lease: Lease | None, view: _View) -> str:
    """Why an attempt does not run yet that an engine holds; empty where it is not so."""
    room = view.rooms.get(lease.agent) if lease is not None else None
    if room is None or lease is None or lease.started_at or room.capacity.running is None:
        return ""
    stuck = dict(room.capacity.stuck).get(str(one.attempt_id))
    return stuck or "waits for a machine" + (
        f" ({room.capacity.says})" if room.capacity.says else ""
    )


def _why_voting(task: Task, ballot: Ballot, view: _View) -> str:
    """Why the first of its replicas that waits does so, and how far the others are."""
    if ballot.phase is Phase.JUDGING:
        return _why_judging(ballot, view.now)
    waiting = next((one for one in ballot.replicas if one.state is ReplicaState.PENDING), None)
    under_way = _under_way(ballot, view)
    if waiting is None:
        return f"does not wait: {under_way}"
    demand = demand_of_replica(task, ballot, waiting)
    one = _Waiting(task, demand, waiting.not_before, waiting.history)
    reason = _why_queued(one, view, lambda: independence.why(ballot, waiting.number))
    return f"{reason} ({under_way})" if under_way else reason


def _why_judging(ballot: Ballot, now: float) -> str:
    compared = _count(len(ballot.asked), "result")
    if ballot.judge_after <= now:
        return f"does not wait for a slot: its {compared} are being compared"
    failed = _count(ballot.judge_failures, "time")
    return (
        f"the validator is tried again in {ballot.judge_after - now:.0f} s:"
        f" {failed} it came to nothing"
    )


def _under_way(ballot: Ballot, view: _View) -> str:
    running = [
        _replica_at(each, each.spot.host or each.lease.agent, view)
        for each in ballot.replicas
        if each.lease is not None and each.spot is not None
    ]
    reported = sum(each.state is ReplicaState.REPORTED for each in ballot.replicas)
    ended = [f"{reported} reported"] if reported else []
    failed = [each for each in ballot.replicas if each.state is ReplicaState.FAILED]
    if failed:
        ended.append(f"{len(failed)} failed, the last one: {_first_line(failed[-1].message)}")
    return ", ".join([*running, *ended])


def _replica_at(one: Replica, place: str, view: _View) -> str:
    waits = _why_there(one, one.lease, view)
    if waits:
        return f"replica {one.number} is at {place}: {waits}"
    return f"replica {one.number} runs on {place}" + (
        " beyond its deadline" if one.overdue else ""
    )


def _why_queued(one: _Waiting, view: _View, why_apart: Callable[[], str] = lambda: "") -> str:
    """`why_apart` says why none of the agents that would do may run this replica."""
    if one.not_before > view.now:
        return _why_backing_off(one, view.now)
    if view.halted:
        return f"the daemon assigns nothing: {view.halted}"
    demand = one.demand
    fit = demand._replace(apart=None)
    able = {name: room for name, room in view.rooms.items() if could_run(fit, name, room)}
    if not able:
        return _why_nowhere(demand, view.rooms)
    able = {name: room for name, room in able.items() if is_apart(demand, room)}
    if not able:
        return "; ".join([why_apart(), *_unfit(demand, view.rooms)])
    open_rooms = {name: room for name, room in able.items() if not room.closed(demand)}
    if not open_rooms:
        paused = (f"{name} ({room.closed(demand)})" for name, room in able.items())
        return f"paused: {'; '.join(paused)}"
    return _why_no_room(one.task, demand, open_rooms, view.ready)


def _why_backing_off(one: _Waiting, now: float) -> str:
    last = f" after {_told(one.history[-1])}" if one.history else ""
    return f"pauses for {one.not_before - now:.0f} s more{last}"


def _told(ran: Ran) -> str:
    what = f"{ran.outcome.value} ({ran.cause.value}) of attempt {ran.attempt}"
    return f"the {what}" + (f": {_first_line(ran.message)}" if ran.message.strip() else "")


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]


def _why_nowhere(demand: Demand, rooms: Mapping[AgentName, Room]) -> str:
    """No agent fits, even if all of it were free."""
    wants = [_count(demand.cpus, "cpu")]
    if demand.least_memory_bytes:
        wants.append(f"{_size(demand.least_memory_bytes)} of memory")
    if demand.gpus:
        wants.append(_count(demand.gpus, "gpu"))
    if demand.python:
        wants.append(f"Python {demand.python}")
    have = [
        f"{name} {_offer(room, demand)}" for name, room in rooms.items() if demand.names(name)
    ]
    if not have:
        wanted = f" of those it names ({', '.join(demand.agents)})" if demand.agents else ""
        return f"no agent fits: there is none{wanted}"
    return f"no agent fits: it asks for {', '.join(wants)}; {'; '.join(have)}"


def _unfit(demand: Demand, rooms: Mapping[AgentName, Room]) -> list[str]:
    """Agents whose hosts have no vote yet, but that lack something."""
    return [
        f"{name} {_offer(room, demand)}"
        for name, room in rooms.items()
        if is_apart(demand, room) and (not demand.agents or name in demand.agents)
    ]


def _offer(room: Room, demand: Demand) -> str:
    has = room.capacity
    if not has.slots:
        return f"can take nothing ({room.trouble or 'it has no slots'})"
    if not has.trusted and not demand.is_guarded:
        return f"is not trusted: {_NOT_TRUSTED}"
    parts = [_count(has.slots, "slot")]
    if demand.least_memory_bytes and has.memory_bytes:
        parts.append(f"{_size(has.memory_bytes)} of memory")
    if demand.gpus:
        parts.append(_count(has.gpus, "gpu"))
    if demand.python and has.pythons:
        parts.append(f"Python {', '.join(has.pythons)}")
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
        says = f": {has.says}" if has.says else ""
        return f"{_count(demand.cpus, 'cpu')} on {name} ({taken} of {has.slots} taken{says})"
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
