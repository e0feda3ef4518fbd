"""What a task that waits for others does when it hears of them, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Deliver
from spoolmw.model.events import Cancelled, Held, Released, Reprioritised, Resolved, Retried
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Ending, TaskState
from spoolmw.rules.ready import ReadyQueue
from spoolmw.rules.task import is_late, owed, step
from spoolmw.rules.waiting import culprit, value_gone, why_waiting
from spoolmw.rules.why import why
from tests.unit.rules.builders import (
    FIRST,
    NOW,
    TASK,
    a_predecessor_failed,
    a_spec_after,
    a_successor,
    a_task,
    an_ended_task,
    the_first_ended,
    the_predecessors_succeeded,
)

HOLDS = a_spec_after(after_failed="hold")


def test_it_is_ready_when_all_predecessors_succeeded() -> None:
    after, effects = step(a_successor(), the_predecessors_succeeded())
    assert after.state is TaskState.QUEUED
    assert not after.waits
    assert after.predecessors == (FIRST,)
    assert effects == ()


def test_a_failed_predecessor_fails_it_with_the_culprit_named_and_blamed() -> None:
    after, effects = step(a_successor(), a_predecessor_failed())
    assert after.state is TaskState.DELIVERING
    assert after.ending == Ending(
        state=TaskState.FAILED,
        cause=Cause.PREDECESSOR,
        blame=Blame.HOST,
        message="not run: fold-16 failed",
    )
    assert effects == (Deliver(after),)
    assert not after.waits


def test_a_failed_predecessor_holds_it_where_that_was_asked_for() -> None:
    after, effects = step(a_successor(spec=HOLDS), a_predecessor_failed())
    assert after.state is TaskState.HELD
    assert after.waits
    assert effects == ()


def test_one_that_its_user_holds_is_ready_once_released() -> None:
    held, _ = step(a_successor(), Held(at=NOW))
    assert held.waits
    heard, _ = step(held, the_predecessors_succeeded())
    assert heard.state is TaskState.HELD
    released, _ = step(heard, Released(at=NOW))
    assert released.state is TaskState.QUEUED


def test_one_that_its_user_holds_and_releases_waits_on() -> None:
    held, _ = step(a_successor(), Held(at=NOW))
    assert step(held, Released(at=NOW))[0] == a_successor()


def test_one_that_its_user_holds_fails_with_its_predecessor() -> None:
    held, _ = step(a_successor(), Held(at=NOW))
    assert step(held, a_predecessor_failed())[0].state is TaskState.DELIVERING


def test_a_failure_does_not_hold_it_twice() -> None:
    held, _ = step(a_successor(spec=HOLDS), a_predecessor_failed())
    assert step(held, a_predecessor_failed()) == (held, ())


def test_a_twin_with_predecessors_waits_for_what_is_left() -> None:
    both = a_successor(twin_of=FIRST)
    first_failed, _ = step(both, the_first_ended(TaskState.FAILED))
    assert (first_failed.state, first_failed.waits) == (TaskState.WAITING, True)
    assert first_failed.twin_of is None
    free, _ = step(both, the_predecessors_succeeded())
    assert (free.state, free.twin_of) == (TaskState.WAITING, FIRST)
    assert step(free, the_first_ended(TaskState.FAILED))[0].state is TaskState.QUEUED


def test_a_twin_that_succeeded_ends_it_whatever_its_predecessors_do() -> None:
    both = a_successor(twin_of=FIRST)
    after, _ = step(both, the_first_ended(TaskState.DONE, copied=True))
    assert after.ending is not None
    assert after.ending.state is TaskState.DONE
    assert not after.waits


def test_whom_it_waits_for_may_be_learnt_later() -> None:
    unknown = a_successor(predecessors=(TaskId(""),))
    after, effects = step(unknown, Resolved(at=NOW, predecessors=(FIRST,)))
    assert after == a_successor()
    assert effects == ()


def test_a_priority_does_not_end_the_wait() -> None:
    after, _ = step(a_successor(), Reprioritised(at=NOW, priority=7))
    assert after == a_successor(priority=7)


def test_it_can_be_cancelled_while_it_waits() -> None:
    after, _ = step(a_successor(), Cancelled(at=NOW))
    assert after.state is TaskState.DELIVERING
    assert not after.waits


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
def test_one_that_is_retried_waits_anew(state: TaskState) -> None:
    ended = an_ended_task(state, spec=a_spec_after(), predecessors=(FIRST,))
    after, _ = step(ended, Retried(at=NOW, result_name="again"))
    assert (after.state, after.waits, after.predecessors) == (TaskState.WAITING, True, (FIRST,))


@pytest.mark.parametrize("event", [the_predecessors_succeeded(), a_predecessor_failed()])
def test_what_is_heard_when_it_does_not_wait_is_late(event: object) -> None:
    for task in (a_task(), an_ended_task(TaskState.DONE)):
        assert is_late(task, event)  # type: ignore[arg-type]


def test_a_waiting_task_owes_nothing() -> None:
    assert owed(a_successor()) == ()


# What is said


def a_failed_task(name: str, cause: Cause = Cause.EXIT, message: str = "exit 3"):
    ending = Ending(state=TaskState.FAILED, cause=cause, blame=Blame.TASK, message=message)
    task = an_ended_task(TaskState.FAILED, ending=ending)
    return replace(task, spec=replace(task.spec, name=name))


def test_the_culprit_is_named_with_what_it_says() -> None:
    assert culprit(a_failed_task("fold-16")) == f"not run: fold-16 ({TASK}) failed: exit 3"


def test_of_several_in_a_row_the_first_is_the_culprit() -> None:
    first = culprit(a_failed_task("fold-16"))
    between = a_failed_task("fold-17", Cause.PREDECESSOR, first)
    assert culprit(between) == first


def test_a_cancelled_predecessor_is_told_as_such() -> None:
    ended = an_ended_task(TaskState.CANCELLED)
    assert culprit(ended) == f"not run: sum ({TASK}) was cancelled"


def test_a_value_that_was_taken_away_is_told_as_such() -> None:
    told = value_gone(TASK, an_ended_task(TaskState.DONE))
    assert told.startswith(f"not run: the value of sum ({TASK}) is gone")


def test_why_names_what_nobody_has_dropped() -> None:
    task = a_successor(spec=a_spec_after("fold-16"), predecessors=(TaskId(""),))
    assert why_waiting(task, [None]) == "waits for fold-16, which nobody has dropped yet"


def test_why_names_the_first_of_several_that_it_waits_for() -> None:
    words = ("a", "b", "c")
    task = a_successor(spec=a_spec_after(*words), predecessors=(FIRST, TASK, TaskId("")))
    known = [an_ended_task(TaskState.DONE), a_task(), None]
    told = f"waits for sum ({TASK}), which is queued, and for 1 more"
    assert why_waiting(task, known) == told


def test_why_says_when_a_thing_cannot_be_known() -> None:
    task = a_successor(spec=a_spec_after("fold-16"))
    assert "pruned" in why_waiting(task, [None])


def test_why_a_task_is_held_for_a_predecessor_says_how_it_goes_on() -> None:
    held, _ = step(a_successor(spec=HOLDS), a_predecessor_failed())
    told = why_waiting(held, [a_failed_task("fold-16")])
    reason = why(held, {}, ReadyQueue(), now=NOW, awaited=told)
    assert reason.startswith(f"held: fold-16 ({TASK}) failed: exit 3")
    assert f"retry --with-successors {TASK}" in reason
    assert f"release {held.id}" in reason


def test_why_a_user_holds_it_comes_first() -> None:
    held, _ = step(a_successor(), Held(at=NOW))
    reason = why(held, {}, ReadyQueue(), now=NOW, awaited=why_waiting(held, [a_task()]))
    assert reason.startswith("held by the user; ")
    assert "then it waits for sum" in reason
