"""Lanes of replicas are served family by family: who gets which room is as if each were looked at."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush

import pytest

from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Spot
from spoolmw.model.spec import Place, Resources, Spec
from spoolmw.model.task import Task
from spoolmw.rules.ballot import opened
from spoolmw.rules.pending import WHOLE, ReplicaQueue
from spoolmw.rules.placement import Given, Room, assign, could_run
from spoolmw.rules.ready import ReadyQueue
from tests.unit.rules.ballots import a_placement, after
from tests.unit.rules.builders import NOW, a_task
from tests.unit.rules.test_pending import a_vote

AGENTS = ("lab", "far", "den")


def plainly(ready: ReadyQueue, rooms: Mapping[AgentName, Room]) -> list[Given]:
    """As `assign`, looking at every lane each time: slow, and easy to believe."""
    free = dict(rooms)
    given: list[Given] = []
    heads = [(head, number, lane) for number, (head, lane) in enumerate(ready.lanes())]
    heapify(heads)
    while heads and free:
        _, number, lane = heappop(heads)
        able = [(n, r) for n, r in free.items() if could_run(lane.demand, n, r)]
        until = heads[0][0] if heads else None
        while able and (head := lane.head()) is not None and (until is None or head <= until):
            fits = [each for each in able if each[1].fits(lane.demand)]
            if not fits:
                for name, _ in able:
                    del free[name]
                break
            name, room = max(fits, key=lambda each: each[1].free_slots)
            task, wants, replica = lane.take()
            room.claim(wants, lane.demand.memory_bytes, replica=replica != WHOLE)
            given.append((task, name, replica))
            if replica != WHOLE:
                return given
        else:
            if able and head is not None:
                heappush(heads, (head, number, lane))
    return given


def some_task(chance: random.Random, seq: int) -> Task:
    """With redundancy or without, for any agent or some, with votes somewhere already or nowhere."""
    spec = Spec(
        name="t",
        resources=Resources(cpus=chance.choice((1, 1, 1, 2))),
        place=Place(agents=tuple(chance.sample(AGENTS, chance.choice((0, 0, 1, 2))))),
    )
    if chance.random() < 0.3:
        return a_task(seq=seq, spec=spec, priority=chance.randrange(2))
    wish = Redundancy(quorum=2, target=3)
    ballot = opened(TaskId(""), wish)
    for number in range(chance.randrange(3)):
        host = Spot(machine=f"m{chance.randrange(6)}")
        ballot = after(replace(ballot, task=TaskId("")), a_placement(number, spot=host))
    spec = replace(spec, redundancy=wish)
    return a_vote(seq, ballot, spec=spec, priority=chance.randrange(2))


def a_world(seed: int) -> tuple[ReadyQueue, dict[AgentName, Room]]:
    chance = random.Random(seed)
    ready = ReadyQueue()
    for seq in range(1, 40):
        task = some_task(chance, seq)
        if task.ballot is None:
            ready.push(task, NOW)
        else:
            ready.replicas.put(task, NOW)
            if chance.random() < 0.2:  # it changes its mind
                ready.replicas.put(replace(task, priority=chance.randrange(3)), NOW)
    rooms = {
        AgentName(name): Room(
            Capacity(
                slots=chance.randrange(1, 6),
                machine=chance.choice(("", "m1", "m2")),
                trusted=chance.random() < 0.8,
            )
        )
        for name in AGENTS
    }
    return ready, rooms


def to_the_end(seed: int, way: object) -> list[Given]:
    """All that is given, pass after pass."""
    ready, rooms = a_world(seed)
    found: list[Given] = []
    while given := way(ready, rooms):  # type: ignore[operator]
        found += given
    return found


@pytest.mark.parametrize("seed", range(150))
def test_who_gets_which_room_is_as_if_every_lane_were_looked_at(seed: int) -> None:
    assert to_the_end(seed, assign) == to_the_end(seed, plainly)


def test_of_many_lanes_only_those_are_looked_at_that_matter() -> None:
    ready = ReadyQueue()
    for seq in range(1, 501):
        wish = Redundancy(quorum=2, target=2)
        spot = Spot(machine=f"m{seq}")
        ballot = after(opened(TaskId(""), wish), a_placement(0, spot=spot))
        ready.replicas.put(a_vote(seq, ballot, spec=Spec(name="t", redundancy=wish)), NOW)
    asked = 0
    own = type(next(ready.replicas.lanes())[1]).head

    def counted(lane: object) -> int | None:
        nonlocal asked
        asked += 1
        return own(lane)  # type: ignore[arg-type]

    room = {AgentName("lab"): Room(Capacity(slots=3, running=0))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spoolmw.rules.pending.ReplicaLane.head", counted)
        while assign(ready, room):
            pass
    assert room[AgentName("lab")].replicas == 3
    assert asked < 60, "not five hundred for each that was given"


def test_what_was_forgotten_does_not_pile_up() -> None:
    queue = ReplicaQueue()
    for priority in range(2_000):
        queue.put(replace(a_vote(2), priority=priority), NOW)
    [(_, family)] = queue.families()
    assert len(family._heap) < 200
    queue.put(replace(a_vote(2), ballot=None), NOW)
    assert (list(queue.families()), queue.ready_count) == ([], 0)
