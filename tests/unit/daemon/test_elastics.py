"""Agents that can bring hosts are told how much waits: seldom, and only of what they could run."""

from __future__ import annotations

from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.elastics import Elastics
from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName
from spoolmw.model.task import Task
from tests.unit.rules.builders import NOW, a_demanding_task, a_task

SEATS = [AgentName("pool:1"), AgentName("pool:2")]


class Seat:
    """An elastic agent; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def offer(self) -> Capacity:
        return Capacity(slots=2)

    def demand(self, slots: int) -> None:
        self.told.append(slots)


class World:
    """Two seats of one family, and a queue."""

    def __init__(self) -> None:
        self.seats = {name: Seat() for name in SEATS}
        self.dispatch = Dispatch({name: Capacity(slots=0) for name in SEATS})
        self.elastics = Elastics(self.seats, self.dispatch)  # type: ignore[arg-type]  # of the contract only this counts
        self.now = NOW
        self._seq = 1

    def push(self, *tasks: Task) -> None:
        for each in tasks:
            self.dispatch.ready.push(each, NOW)

    def plain(self, count: int) -> None:
        for _ in range(count):
            self._seq += 1
            self.push(a_task(seq=self._seq))

    def told(self) -> list[int]:
        """What the family hears within the next second."""
        before = len(self.seats[SEATS[0]].told)
        for _ in range(10):
            self.now += 0.1
            self.elastics.turn(self.now)
        assert self.seats[SEATS[1]].told == []
        return self.seats[SEATS[0]].told[before:]


def test_nothing_waits_nothing_is_told() -> None:
    assert World().told() == []


def test_one_of_the_family_is_told_once() -> None:
    world = World()
    world.plain(3)
    assert world.told() == [3]
    assert world.told() == []


def test_small_numbers_are_exact_and_of_large_ones_only_doublings_are_told() -> None:
    world = World()
    world.plain(16)
    assert world.told() == [16]
    world.plain(10)
    assert world.told() == [26]
    world.plain(5)
    assert world.told() == []
    world.plain(1)
    assert world.told() == [32]


def test_the_first_and_the_last_are_told_at_once() -> None:
    world = World()
    world.elastics.turn(world.now)
    task = a_task(seq=9)
    world.push(task)
    world.elastics.turn(world.now + 0.001)
    assert world.seats[SEATS[0]].told == [1]
    world.dispatch.ready.discard(task)
    world.elastics.turn(world.now + 0.002)
    assert world.seats[SEATS[0]].told == [1, 0]


def test_what_no_host_of_theirs_could_run_does_not_count() -> None:
    world = World()
    world.push(
        a_demanding_task(2, cpus=3),
        a_demanding_task(3, gpus=1),
        a_demanding_task(4, agents=("far",)),
    )
    assert world.told() == []
    world.push(a_demanding_task(5, cpus=2), a_demanding_task(6, agents=("pool:2",)))
    assert world.told() == [3]


def test_a_section_that_is_paused_is_told_that_nothing_waits() -> None:
    world = World()
    world.plain(3)
    assert world.told() == [3]
    for room in world.dispatch.rooms.values():
        room.paused = "by hand"
    assert world.told() == [0]
