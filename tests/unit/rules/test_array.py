"""An array as a whole: what its tally makes of it, in every story that three elements can have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Deliver
from spoolmw.model.events import (
    Advanced,
    Cancelled,
    Delivered,
    Event,
    Held,
    Released,
    Reprioritised,
    Retried,
)
from spoolmw.model.task import FINAL, Tally, Task, TaskState
from spoolmw.rules.task import owed, step
from tests.unit.rules.builders import NOW, an_array, the_first_ended

EXPANDING = TaskState.EXPANDING
DELIVERING = TaskState.DELIVERING


def ended(array: Task) -> Task:
    """The array as it stands once its result is delivered."""
    assert array.state is DELIVERING
    return step(array, Delivered(at=NOW))[0]


def test_elements_that_are_made_and_end_are_counted() -> None:
    after, effects = step(an_array(), Advanced(at=NOW, made=2, done=1, offset=17))
    assert after.tally == Tally(total=3, made=2, done=1, offset=17)
    assert (after.state, effects) == (EXPANDING, ())
    assert after.tally
    assert (after.tally.open, after.tally.unmade) == (1, 1)


def test_with_the_last_element_its_result_is_delivered() -> None:
    after, effects = step(an_array(made=3, done=2), Advanced(at=NOW, done=1))
    assert after.state is DELIVERING
    assert effects == (Deliver(after),)
    assert owed(after) == (Deliver(after),)
    assert after.ending is not None
    assert (after.ending.staged, after.ending.message) == (None, "3 elements: 3 done")
    assert ended(after).state is TaskState.DONE


@pytest.mark.parametrize(
    ("numbers", "state", "blame", "says"),
    [
        (
            {"done": 2, "failed": 1},
            TaskState.FAILED,
            Blame.TASK,
            "3 elements: 2 done, 1 failed",
        ),
        (
            {"done": 1, "failed": 1, "cancelled": 1},
            TaskState.FAILED,
            Blame.TASK,
            "3 elements: 1 done, 1 failed, 1 cancelled",
        ),
        (
            {"done": 2, "cancelled": 1},
            TaskState.CANCELLED,
            Blame.USER,
            "3 elements: 2 done, 1 cancelled",
        ),
    ],
)
def test_it_is_done_only_if_all_elements_are(
    numbers: dict[str, int], state: TaskState, blame: Blame, says: str
) -> None:
    after, _ = step(an_array(made=3), Advanced(at=NOW, **numbers))
    assert after.ending is not None
    assert (after.ending.state, after.ending.blame, after.ending.message) == (
        state,
        blame,
        says,
    )


def test_a_cancelled_array_makes_no_more_elements_and_ends_with_those_that_are_open() -> None:
    array, effects = step(an_array(made=1, failed=1), Cancelled(at=NOW, by="ann"))
    assert effects == (Deliver(array),)
    assert ended(array).state is TaskState.CANCELLED
    assert array.ending is not None
    assert array.ending.message == "cancelled by ann; 3 elements: 1 failed, 2 cancelled"

    array, effects = step(an_array(made=1), Cancelled(at=NOW, by="ann"))
    assert (array.state, effects) == (EXPANDING, ())
    assert array.tally
    assert (array.tally.skipped, array.tally.unmade) == (2, 0)
    array, _ = step(array, Advanced(at=NOW, done=1))
    assert ended(array).state is TaskState.CANCELLED


def test_what_cannot_be_made_fails_it_and_says_why() -> None:
    array, _ = step(an_array(made=1, done=1), Advanced(at=NOW, broken="its file is gone"))
    assert array.ending is not None
    assert (array.ending.state, array.ending.cause) == (TaskState.FAILED, Cause.GONE)
    assert array.ending.message == "its file is gone; 3 elements: 1 done, 2 cancelled"


def test_a_held_array_goes_on_where_it_was() -> None:
    held, effects = step(an_array(made=1), Held(at=NOW))
    assert (held.state, effects) == (TaskState.HELD, ())
    counted, _ = step(held, Advanced(at=NOW, done=1))
    assert (counted.state, counted.tally) == (TaskState.HELD, Tally(total=3, made=1, done=1))
    assert step(counted, Released(at=NOW))[0].state is EXPANDING
    assert step(held, Reprioritised(at=NOW, priority=4))[0].priority == 4


def test_an_array_whose_twin_failed_expands_itself() -> None:
    waiting = an_array(state=TaskState.WAITING, twin_of="0193a0000000" + "0" * 20)
    after, _ = step(waiting, the_first_ended(TaskState.FAILED))
    assert (after.state, after.twin_of) == (EXPANDING, None)
    after, _ = step(waiting, the_first_ended(TaskState.DONE, copied=True))
    assert after.state is DELIVERING


@pytest.mark.parametrize(
    ("elements", "skipped", "again", "again_all"),
    [("all", 0, 0, True), ("failed", 1, 0, False), ("none", 1, -1, False)],
)
def test_a_retry_takes_up_what_was_asked_for(
    elements: str, skipped: int, again: int, *, again_all: bool
) -> None:
    array = an_array(made=2, failed=1, cancelled=1)
    array = ended(step(array, Cancelled(at=NOW))[0])
    after, effects = step(array, Retried(at=NOW, result_name="sum.2", elements=elements))
    assert (after.state, effects, after.result_name) == (EXPANDING, (), "sum.2")
    assert after.tally == Tally(
        total=3, made=2, failed=1, cancelled=1, skipped=skipped, again=again,
        again_all=again_all, name="sum",
    )  # fmt: skip


def test_it_does_not_end_before_a_retry_is_through() -> None:
    array = an_array(made=3, done=1, failed=2, again=0)
    array, effects = step(array, Advanced(at=NOW, failed=-2, again=3))
    assert (array.state, effects) == (EXPANDING, ())
    array, _ = step(array, Advanced(at=NOW, done=2))
    assert array.state is EXPANDING
    array, _ = step(array, Advanced(at=NOW, again=-1))
    assert ended(array).state is TaskState.DONE


# Everything that can be reached

LIMIT = 9  #: events in a story


def next_events(array: Task) -> Iterator[Event]:
    """What daemon and user may say to this array: no more is made or ends than there is."""
    tally = array.tally
    assert tally is not None
    grows, is_open = array.state is EXPANDING, array.state in (EXPANDING, TaskState.HELD)
    news = [
        (grows and tally.unmade, {"made": 1}),
        (is_open and tally.unmade, {"early": 1}),
        (grows and tally.early, {"made": 1, "early": -1}),
        (is_open and tally.open, {"done": 1}),
        (is_open and tally.open, {"failed": 1}),
        (is_open and tally.open, {"cancelled": 1}),
        (grows and tally.again >= 0, {"failed": -tally.failed, "again": 3}),
        (grows and tally.again >= 0, {"again": -1}),
    ]
    yield from (Advanced(at=NOW, **added) for may, added in news if may)
    yield Cancelled(at=NOW, by="ann")
    yield Held(at=NOW)
    yield Released(at=NOW)
    if array.state in (EXPANDING, TaskState.FAILED, TaskState.CANCELLED):
        yield Retried(at=NOW, result_name="sum", elements="failed")
        yield Retried(at=NOW, result_name="sum", elements="all")
    if array.state is DELIVERING:
        yield Delivered(at=NOW)


def all_edges() -> Iterator[tuple[Task, Event, Task]]:
    seen = {an_array(2)}
    fresh = list(seen)
    for _ in range(LIMIT):
        reached = []
        for array in fresh:
            for event in next_events(array):
                after = step(array, event)[0]
                yield array, event, after
                if after not in seen:
                    seen.add(after)
                    reached.append(after)
        fresh = reached


def test_in_every_story_the_numbers_fit_and_the_end_comes_exactly_when_all_have_ended() -> None:
    edges = list(all_edges())
    assert len(edges) > 3000
    for before, event, after in edges:
        tally = after.tally
        assert tally is not None
        assert tally.total == 2
        numbers = (tally.unmade, tally.open, tally.made, tally.early, tally.skipped)
        assert min(*numbers, tally.done, tally.failed, tally.cancelled) >= 0
        over = tally.open == 0 and tally.unmade == 0 and tally.again < 0
        if after.state in FINAL or after.state is DELIVERING:
            assert over
        elif isinstance(event, Advanced):
            assert not over, (before, event)
        if after.state is TaskState.DONE:
            assert tally.done == 2
        assert after.attempt == 0
        assert (after.ending is not None) == (after.state is DELIVERING or after.state in FINAL)


def test_a_story_can_always_end_well_once_it_is_released_and_retried() -> None:
    array = an_array(2, made=1, failed=1)
    array, _ = step(array, Held(at=NOW))
    array, _ = step(array, Cancelled(at=NOW))
    array = ended(array)
    array, _ = step(array, Retried(at=NOW, result_name="sum", elements="all"))
    for event in (
        Advanced(at=NOW, failed=-1, again=1),
        Advanced(at=NOW, made=1, done=1),
        Advanced(at=NOW, again=-1, done=1),
    ):
        array, _ = step(array, event)
    assert ended(array).state is TaskState.DONE
    assert replace(array, state=array.state) == array
