"""What an agent is given whose hosts are anybody's, and why something waits that could only run there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.spec import Run, Spec
from spoolmw.model.task import Task
from spoolmw.rules.ballot import opened
from spoolmw.rules.placement import Given, Room, assign
from spoolmw.rules.ready import ReadyQueue
from spoolmw.rules.why import why
from tests.unit.rules.builders import LOCAL, NOW, TASK, a_task

LAB = AgentName("lab")
TWO_AGREE = Redundancy(quorum=2, target=2)
NO_VOTE = Redundancy()


def a_lab() -> Room:
    """An agent with room for many and hosts that are anybody's."""
    return Room(Capacity(slots=50, running=0, trusted=False))


def wishing(wish: Redundancy, result: str = "auto") -> Task:
    task = a_task(spec=Spec(name="sum", redundancy=wish, run=Run(result=result)))
    return replace(task, ballot=opened(TASK, wish)) if wish.is_wished else task


def ready(task: Task) -> ReadyQueue:
    queue = ReadyQueue()
    if task.ballot is None:
        queue.push(task, NOW)
    else:
        queue.replicas.put(task, NOW)
    return queue


def given(task: Task, **rooms: Room) -> list[Given]:
    return assign(ready(task), {AgentName(name): room for name, room in rooms.items()})


def test_what_two_must_agree_on_runs_on_anybodys_hosts() -> None:
    assert given(wishing(TWO_AGREE), lab=a_lab()) == [(TASK, LAB, 0)]


@pytest.mark.parametrize(
    ("wish", "result"),
    [
        (NO_VOTE, "auto"),
        (NO_VOTE, "safe"),
        (Redundancy(deadline_s=60.0), "safe"),
        (Redundancy(quorum=1, target=2), "safe"),
        (TWO_AGREE, "pickle"),
    ],
)
def test_nothing_runs_there_whose_result_would_be_one_hosts_word_or_a_pickle(
    wish: Redundancy, result: str
) -> None:
    task = wishing(wish, result)
    assert given(task, lab=a_lab()) == []
    assert "lab is not trusted: it takes only tasks with [redundancy] quorum = 2" in why(
        task, {LAB: a_lab()}, ready(task), now=NOW
    )
    local = Room(Capacity(slots=1, machine="m"))
    assert [agent for _, agent, _ in given(task, lab=a_lab(), local=local)] == [LOCAL]
