"""What checkpoints make of a task, as sentences, and everything that saving can lead to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from spoolmw.model.attempt import Saved
from spoolmw.model.effects import Deliver, Effect, Forget, Start, Stop, Trim
from spoolmw.model.events import (
    Assigned,
    Brought,
    Cancelled,
    Delivered,
    Event,
    Held,
    Released,
    Retried,
)
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.task import is_late, owed, step
from tests.unit.rules.builders import (
    LOCAL,
    NOW,
    TASK,
    WALL,
    a_checkpoint,
    a_delivering_task,
    a_held_task,
    a_loss,
    a_resume,
    a_running_task,
    a_save,
    a_success,
    a_task,
    a_waiting_task,
    an_attempt,
    an_ended_task,
    token,
)


def assigned(task: Task) -> Event:
    number = task.attempt + 1
    return Assigned(at=NOW, agent=LOCAL, token=token(number), wall=WALL)


# A save


def test_a_save_is_remembered_and_only_the_two_newest_are_kept() -> None:
    after, effects = step(a_running_task(), a_save(1, 3))
    assert after.saved == Saved(1, 3, WALL + 3, 30)
    assert effects == (Trim(TASK, Saved(1, 3, WALL + 3, 30), 0),)


def test_a_save_leaves_the_attempt_running() -> None:
    before = a_running_task(failures=1)
    after, _ = step(before, a_save())
    assert (after.state, after.lease, after.attempt) == (before.state, before.lease, 1)
    assert after.failures == 1


def test_a_save_makes_the_losses_count_anew() -> None:
    after, _ = step(a_running_task(attempt=3, losses=2), a_save(3))
    assert after.losses == 0
    after, effects = step(after, a_loss(3))
    assert (after.state, after.losses) == (TaskState.QUEUED, 1)
    assert not any(isinstance(effect, Deliver) for effect in effects)


def test_a_task_that_saves_survives_any_number_of_losses() -> None:
    task = a_task()
    for number in range(1, 20):
        task, _ = step(task, assigned(task))
        task, _ = step(task, a_save(number))
        task, _ = step(task, a_loss(number))
        assert task.state is TaskState.QUEUED
    assert task.saved == a_checkpoint(19)


def test_without_a_save_the_third_loss_in_a_row_is_the_last() -> None:
    task, _ = step(a_task(), assigned(a_task()))
    task, _ = step(task, a_save(1))
    for number in (1, 2, 3):
        assert task.state is TaskState.RUNNING
        task, _ = step(task, a_loss(number))
        if task.state is TaskState.QUEUED:
            task, _ = step(task, assigned(task))
    assert task.state is TaskState.DELIVERING
    assert task.ending is not None
    assert task.ending.state is TaskState.FAILED


@pytest.mark.parametrize(
    "task",
    [
        a_task(attempt=1),
        a_held_task(attempt=1),
        a_waiting_task(),
        a_running_task(attempt=2),
        a_delivering_task(),
        an_ended_task(TaskState.DONE),
        an_ended_task(TaskState.FAILED),
    ],
    ids=lambda task: task.state.value,
)
def test_what_another_attempt_than_the_running_one_saved_changes_nothing(task: Task) -> None:
    for event in (a_save(1), a_resume(1)):
        after, effects = step(task, event)
        assert after is task
        assert effects == ()


def test_a_save_that_is_told_twice_or_out_of_order_changes_nothing() -> None:
    task, _ = step(a_running_task(losses=1), a_save(1, 2))
    for sequence in (1, 2):
        assert step(task, a_save(1, sequence)) == (task, ())


def test_the_checkpoint_outlives_a_loss_a_hold_and_a_failure() -> None:
    saved = a_running_task(saved=a_checkpoint())
    for event in (a_loss(), Held(at=NOW)):
        after, _ = step(saved, event)
        assert after.saved == a_checkpoint()
    failed = an_ended_task(TaskState.FAILED, saved=a_checkpoint())
    assert step(failed, Retried(at=NOW, result_name="again"))[0].saved == a_checkpoint()


# Going on


def test_an_attempt_that_goes_on_from_the_newest_changes_nothing_but_the_story() -> None:
    task = a_running_task(attempt=2, saved=a_checkpoint(1, 4), losses=1)
    after, effects = step(task, a_resume(2, a_checkpoint(1, 4)))
    assert after == task
    assert effects == ()


def test_where_the_newest_was_damaged_the_older_one_is_the_newest() -> None:
    task = a_running_task(attempt=2, saved=a_checkpoint(1, 4))
    after, _ = step(task, a_resume(2, a_checkpoint(1, 3), "1-4 is truncated"))
    assert after.saved == a_checkpoint(1, 3)


def test_where_all_were_damaged_there_is_none() -> None:
    task = a_running_task(attempt=2, saved=a_checkpoint(1, 4), since=1)
    after, _ = step(task, a_resume(2, None, "1-4 and 1-3 are damaged"))
    assert (after.saved, after.since) == (None, 1)


def test_a_resume_that_comes_after_a_save_of_the_same_attempt_is_late() -> None:
    task = a_running_task(attempt=2, saved=a_checkpoint(2, 1))
    assert is_late(task, a_resume(2, a_checkpoint(1, 4)))


def test_a_resume_does_not_make_the_losses_count_anew() -> None:
    after, _ = step(a_running_task(attempt=2, losses=2), a_resume(2, a_checkpoint()))
    assert after.losses == 2


# The user's will


def test_a_retry_goes_on_from_the_checkpoint() -> None:
    failed = an_ended_task(TaskState.FAILED, attempt=2, saved=a_checkpoint(2, 5))
    after, _ = step(failed, Retried(at=NOW, result_name="again"))
    assert (after.saved, after.since) == (a_checkpoint(2, 5), 0)


def test_a_fresh_retry_starts_anew_and_what_was_saved_goes() -> None:
    failed = an_ended_task(TaskState.FAILED, attempt=2, saved=a_checkpoint(2, 5))
    after, effects = step(failed, Retried(at=NOW, result_name="again", fresh=True))
    assert (after.saved, after.since) == (None, 3)
    assert effects == (Trim(TASK, None, 3),)
    running, _ = step(after, assigned(after))
    saved, effects = step(running, a_save(3, 1))
    assert effects == (Trim(TASK, a_checkpoint(3, 1), 3),)
    assert saved.since == 3


@pytest.mark.parametrize(
    "task",
    [
        a_waiting_task(),
        a_task(),
        a_held_task(),
        an_ended_task(TaskState.FAILED),
        an_ended_task(TaskState.CANCELLED),
    ],
    ids=lambda task: task.state.value,
)
def test_a_checkpoint_can_be_brought_to_a_task_that_is_not_at_work(task: Task) -> None:
    event = Brought(at=NOW, saved=Saved(task.attempt, 7, WALL, 5))
    after, effects = step(task, event)
    assert after.saved == event.saved
    assert (after.state, after.ending, after.twin_of) == (task.state, task.ending, task.twin_of)
    open_still = task.state not in FINAL
    assert effects == ((Trim(TASK, event.saved, 0),) if open_still else ())


def test_a_checkpoint_that_is_brought_counts_also_after_a_fresh_retry() -> None:
    task = a_task(attempt=2, since=3)
    after, _ = step(task, Brought(at=NOW, saved=Saved(2, 1, WALL, 5)))
    assert after.since == 2


@pytest.mark.parametrize(
    "task", [a_running_task(), a_delivering_task(), an_ended_task(TaskState.DONE)]
)
def test_to_a_task_that_is_at_work_or_done_nothing_is_brought(task: Task) -> None:
    assert step(task, Brought(at=NOW, saved=Saved(1, 7, WALL, 5))) == (task, ())


# What is owed


def test_an_open_task_with_a_checkpoint_owes_the_removal_of_older_ones() -> None:
    trim = Trim(TASK, a_checkpoint(), 0)
    assert owed(a_task(attempt=1, saved=a_checkpoint()))[0] == trim
    running = a_running_task(saved=a_checkpoint())
    assert owed(running) == (Start(running), trim)
    assert owed(a_running_task()) == (Start(a_running_task()),)


def test_an_ended_task_owes_no_more_than_to_be_forgotten() -> None:
    done = an_ended_task(TaskState.DONE, saved=a_checkpoint())
    assert owed(done) == (Forget(done, payload=True),)


# Everything that saving can lead to

STORY = [
    *(a_save(number, sequence) for number in (1, 2, 3) for sequence in (1, 2)),
    *(a_resume(number, saved) for number in (1, 2) for saved in (None, a_checkpoint(1, 1))),
    *(a_loss(number) for number in (1, 2, 3)),
    Held(at=NOW),
    Released(at=NOW),
    a_success(2),
    Cancelled(at=NOW),
    Delivered(at=NOW),
    Retried(at=NOW, result_name="again", fresh=True),
    Brought(at=NOW, saved=Saved(0, 1, WALL, 5)),
]


def all_edges(steps: int = 9) -> Iterator[tuple[Task, Event, Task, tuple[Effect, ...]]]:
    fresh, seen = [a_task()], {a_task()}
    for _ in range(steps):
        reached = []
        for task, event in itertools.product(fresh, [*STORY, None]):
            told = event
            if told is None:
                if task.state is not TaskState.QUEUED:
                    continue
                told = assigned(task)
            if isinstance(told, Delivered) and task.state is not TaskState.DELIVERING:
                continue
            after, effects = step(task, told)
            yield task, told, after, effects
            if after not in seen:
                seen.add(after)
                reached.append(after)
        fresh = reached


def test_in_all_stories_checkpoints_keep_their_promises() -> None:
    edges = list(all_edges())
    assert len(edges) > 10_000
    for task, event, after, effects in edges:
        if after.saved is not None:
            assert after.since <= after.saved.attempt <= after.attempt
        if after.saved != task.saved:
            running = task.lease is not None and after.lease == task.lease
            assert running or isinstance(event, Brought | Retried)
        if after.losses < task.losses and not isinstance(event, Retried):
            assert after.saved != task.saved or after.state is TaskState.DELIVERING
        for effect in effects:
            if isinstance(effect, Trim):
                assert effect == Trim(TASK, after.saved, after.since)  # type: ignore[arg-type]
            if isinstance(effect, Stop):
                assert effect.attempt in map(an_attempt, range(1, task.attempt + 1))
