"""What each event makes of a task, and what the world is told then, as sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.errors import IllegalTransition
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.effects import Deliver, Discard, Forget, Start, Stop
from spoolmw.model.events import (
    Assigned,
    Cancelled,
    Delivered,
    Held,
    NameTaken,
    Released,
    Reprioritised,
    Retried,
    Started,
    Submitted,
)
from spoolmw.model.spec import Resources, Retry, Spec
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.task import is_late, owed, step
from tests.unit.rules.builders import (
    FIRST,
    LOCAL,
    NOW,
    WALL,
    a_delivering_task,
    a_failure,
    a_held_task,
    a_loss,
    a_running_task,
    a_success,
    a_task,
    a_waiting_task,
    an_attempt,
    an_ended_task,
    the_first_ended,
    token,
)

RETRY_ALL = Retry(max=2, backoff_s=10, on=("exit", "exception", "signal", "timeout", "memory"))


# From the queue to a slot


def test_an_assigned_task_gets_a_number_and_a_token_and_starts() -> None:
    event = Assigned(at=NOW, agent=LOCAL, token=token(1), wall=WALL)
    after, effects = step(a_task(), event)
    assert (after.state, after.attempt) == (TaskState.RUNNING, 1)
    assert after.lease is not None
    assert (after.lease.agent, after.lease.token) == (LOCAL, token(1))
    assert effects == (Start(after),)


def test_a_task_is_never_assigned_twice() -> None:
    event = Assigned(at=NOW, agent=LOCAL, token=token(2), wall=WALL)
    with pytest.raises(IllegalTransition, match="Assigned cannot happen"):
        step(a_running_task(), event)


def test_a_started_attempt_says_since_when_and_where() -> None:
    event = Started(at=NOW, attempt=an_attempt(1), started_at=WALL + 1, host="lab1", slot="2")
    after, effects = step(a_running_task(), event)
    assert after.lease is not None
    assert (after.lease.started_at, after.lease.host, after.lease.slot) == (
        WALL + 1,
        "lab1",
        "2",
    )
    assert after.lease.token == token(1)
    assert effects == ()


# Reports


def test_a_success_is_delivered() -> None:
    after, effects = step(a_running_task(losses=2), a_success())
    assert (after.state, after.lease, after.losses) == (TaskState.DELIVERING, None, 0)
    assert after.ending is not None
    assert (after.ending.state, after.ending.staged) == (TaskState.DONE, an_attempt(1))
    assert (after.ending.body_bytes, after.ending.digest) == (100, "d" * 64)
    assert effects == (Deliver(after),)


def test_a_success_is_remembered_with_what_it_used() -> None:
    (ran,) = step(a_running_task(), a_success())[0].history
    assert (ran.attempt, ran.agent, ran.outcome) == (1, "local", Outcome.SUCCESS)
    assert (ran.host, ran.slot, ran.cpu_s, ran.memory_bytes) == ("lab1", "2", 1.5, 1_000_000)
    assert (ran.started_at, ran.ended_at, ran.token) == (WALL, WALL + 2, "")


def test_a_failure_that_is_not_to_be_repeated_is_delivered_with_its_own_file() -> None:
    after, effects = step(a_running_task(), a_failure(Cause.EXCEPTION))
    assert after.ending is not None
    assert (after.ending.state, after.ending.blame) == (TaskState.FAILED, Blame.TASK)
    assert (after.ending.staged, after.ending.message) == (an_attempt(1), "oh")
    assert after.failures == 1
    assert effects == (Deliver(after),)


def test_a_failure_without_a_file_is_delivered_by_the_daemon() -> None:
    after, _ = step(a_running_task(), a_failure(Cause.INTERPRETER, body_bytes=0))
    assert after.ending is not None
    assert after.ending.staged is None


def test_a_failure_that_may_be_repeated_waits_for_its_backoff() -> None:
    task = a_running_task(retry=RETRY_ALL)
    after, effects = step(task, a_failure(Cause.SIGNAL, jitter=0.0))
    assert (after.state, after.failures, after.lease) == (TaskState.QUEUED, 1, None)
    assert after.not_before == NOW + 10
    assert effects == (Discard(an_attempt(1)),)


def test_a_backoff_doubles_with_each_failure() -> None:
    task = a_running_task(attempt=2, failures=1, retry=RETRY_ALL)
    after, _ = step(task, a_failure(Cause.TIMEOUT, attempt=2, jitter=0.0))
    assert after.not_before == NOW + 20


def test_the_last_permitted_failure_ends_the_task() -> None:
    task = a_running_task(attempt=3, failures=2, retry=RETRY_ALL)
    after, effects = step(task, a_failure(Cause.SIGNAL, attempt=3))
    assert (after.state, after.failures) == (TaskState.DELIVERING, 3)
    assert effects == (Deliver(after), Discard(an_attempt(1)), Discard(an_attempt(2)))


def test_what_ran_out_of_memory_asks_for_more() -> None:
    task = a_running_task(memory_bytes=2_000, retry=Retry(memory_factor=1.5))
    after, _ = step(task, a_failure(Cause.MEMORY))
    assert after.memory_bytes == 3_000


def test_other_failures_ask_for_the_same_memory() -> None:
    after, _ = step(a_running_task(memory_bytes=2_000), a_failure(Cause.SIGNAL))
    assert after.memory_bytes == 2_000


def test_a_reported_failure_that_is_the_hosts_costs_no_retry() -> None:
    task = a_running_task()
    after, effects = step(task, a_failure(Cause.INTERPRETER, blame=Blame.HOST))
    assert (after.state, after.failures, after.losses) == (TaskState.QUEUED, 0, 1)
    assert effects == (Discard(an_attempt(1)),)


# Late, repeated and forged reports


def test_a_second_report_changes_nothing() -> None:
    task, _ = step(a_running_task(), a_success())
    assert step(task, a_success()) == (task, ())
    assert is_late(task, a_success())


def test_a_forged_report_changes_nothing_and_leaves_the_running_attempts_file_alone() -> None:
    task = a_running_task()
    after, effects = step(task, a_success(token="f" * 32))
    assert after is task
    assert effects == ()


def test_a_report_of_another_task_changes_nothing() -> None:
    task = a_running_task()
    event = replace(a_success(), attempt=an_attempt(1)._replace(task=FIRST))
    assert step(task, event) == (task, ())


def test_a_lost_attempt_that_succeeded_after_all_counts_while_the_task_is_open() -> None:
    task, effects = step(a_running_task(), a_loss())
    assert effects == ()  # its file in stage/ stays: it may yet be whole
    after, effects = step(task, a_success())
    assert after.ending is not None
    assert after.ending.staged == an_attempt(1)
    assert [ran.outcome for ran in after.history] == [Outcome.SUCCESS]
    assert effects == (Deliver(after),)


def test_an_attempt_that_is_proven_dead_leaves_nothing_and_never_counts_again() -> None:
    task, effects = step(a_running_task(), a_loss(dead=True))
    assert effects == (Discard(an_attempt(1)),)
    assert step(task, a_success()) == (task, (Discard(an_attempt(1)),))


def test_a_late_success_stops_the_attempt_that_replaced_it() -> None:
    task, _ = step(a_running_task(), a_loss())
    task, _ = step(task, Assigned(at=NOW, agent=LOCAL, token=token(2), wall=WALL))
    after, effects = step(task, a_success(attempt=1))
    assert [(ran.attempt, ran.outcome) for ran in after.history] == [
        (1, Outcome.SUCCESS),
        (2, Outcome.STOPPED),
    ]
    assert after.history[1].cause is Cause.SUPERSEDED
    assert effects == (
        Stop(LOCAL, an_attempt(2), is_wanted=False),
        Deliver(after),
        Discard(an_attempt(2)),
    )


def test_a_late_success_with_a_wrong_token_changes_nothing() -> None:
    task, _ = step(a_running_task(), a_loss())
    assert step(task, a_success(token=token(2)))[0] is task
    assert step(task, a_success(token=""))[0] is task


def test_a_late_failure_is_worth_nothing() -> None:
    task, _ = step(a_running_task(), a_loss())
    assert step(task, a_failure()) == (task, ())


def test_a_report_after_the_end_only_removes_the_file_it_came_with() -> None:
    task, _ = step(a_running_task(), Cancelled(at=NOW))
    assert step(task, a_success()) == (task, (Discard(an_attempt(1)),))


def test_no_token_outlives_the_end() -> None:
    task, _ = step(a_running_task(), a_loss())
    task, _ = step(task, Cancelled(at=NOW))
    assert [ran.token for ran in task.history] == [""]


# Losses


def test_a_loss_is_free_and_the_task_is_ready_again_at_once() -> None:
    after, effects = step(a_running_task(), a_loss())
    assert (after.state, after.failures, after.losses) == (TaskState.QUEUED, 0, 1)
    assert after.not_before <= NOW
    assert effects == ()


def test_the_third_loss_in_a_row_is_blamed_on_the_task() -> None:
    loss = a_loss(attempt=3, dead=True)
    after, effects = step(a_running_task(attempt=3, losses=2), loss)
    assert after.ending is not None
    assert (after.ending.state, after.ending.blame) == (TaskState.FAILED, Blame.TASK)
    assert "killed its worker 3 times in a row" in after.ending.message
    assert "signal 9" in after.ending.message
    assert after.ending.staged is None
    assert effects[0] == Deliver(after)


def test_a_loss_with_all_that_ran_on_a_host_is_weaker_evidence_and_the_tenth_is_the_last() -> (
    None
):
    """One of many may have brought runner or host down, or none of them."""
    task = a_running_task(attempt=9, losses=8)
    task, _ = step(task, a_loss(attempt=9, cause=Cause.CONNECTION))
    assert (task.state, task.losses) == (TaskState.QUEUED, 9)
    task = a_running_task(attempt=10, losses=9)
    task, _ = step(task, a_loss(attempt=10, cause=Cause.CONNECTION))
    assert task.ending is not None
    assert "killed its runner or host 10 times in a row" in task.ending.message


def test_a_loss_by_our_own_shutdown_does_not_count() -> None:
    event = a_loss(attempt=3, cause=Cause.SHUTDOWN, counts=False)
    after, _ = step(a_running_task(attempt=3, losses=2), event)
    assert (after.state, after.losses) == (TaskState.QUEUED, 2)


def test_a_report_between_losses_starts_the_count_anew() -> None:
    task = a_running_task(attempt=3, losses=2, retry=RETRY_ALL)
    after, _ = step(task, a_failure(Cause.SIGNAL, attempt=3))
    assert (after.state, after.losses) == (TaskState.QUEUED, 0)


def test_an_agent_that_cannot_start_it_is_given_longer_and_longer_pauses() -> None:
    event = a_loss(cause=Cause.LAUNCH, blame=Blame.AGENT, counts=False, jitter=0.0)
    first, _ = step(a_running_task(), event)
    again, _ = step(first, Assigned(at=NOW, agent=LOCAL, token=token(2), wall=WALL))
    second, _ = step(
        again, a_loss(2, cause=Cause.LAUNCH, blame=Blame.AGENT, counts=False, jitter=0.0)
    )
    assert first.not_before == NOW + 1
    assert second.not_before == NOW + 2


def test_a_loss_of_an_older_attempt_changes_nothing() -> None:
    task = a_running_task(attempt=2)
    assert step(task, a_loss(attempt=1)) == (task, ())


# What the user wants


@pytest.mark.parametrize("task", [a_task(), a_held_task(), a_waiting_task()])
def test_cancelling_a_task_that_does_not_run_delivers_just_that(task: Task) -> None:
    after, effects = step(task, Cancelled(at=NOW, by="ann"))
    assert after.ending is not None
    assert (after.ending.state, after.ending.blame) == (TaskState.CANCELLED, Blame.USER)
    assert (after.ending.message, after.ending.staged) == ("cancelled by ann", None)
    assert effects == (Deliver(after),)


def test_cancelling_a_running_task_stops_it_first() -> None:
    after, effects = step(a_running_task(), Cancelled(at=NOW, wall=WALL + 5))
    assert after.state is TaskState.DELIVERING
    assert after.history[0].outcome is Outcome.STOPPED
    assert after.history[0].ended_at == WALL + 5
    assert effects == (
        Stop(LOCAL, an_attempt(1), is_wanted=False),
        Deliver(after),
        Discard(an_attempt(1)),
    )


def test_cancelling_comes_too_late_once_the_end_is_decided() -> None:
    task = a_delivering_task()
    assert step(task, Cancelled(at=NOW)) == (task, ())


def test_holding_a_running_task_stops_it_and_keeps_what_it_may_yet_report() -> None:
    after, effects = step(a_running_task(), Held(at=NOW, wall=WALL))
    assert (after.state, after.lease) == (TaskState.HELD, None)
    assert (after.history[0].cause, after.history[0].blame) == (Cause.HELD, Blame.USER)
    assert effects == (Stop(LOCAL, an_attempt(1)),)
    assert step(after, a_success())[0].state is TaskState.DELIVERING


def test_a_released_task_queues_again_and_keeps_its_backoff() -> None:
    held, _ = step(a_task(not_before=NOW + 60), Held(at=NOW))
    after, effects = step(held, Released(at=NOW))
    assert (after.state, after.not_before) == (TaskState.QUEUED, NOW + 60)
    assert effects == ()


def test_releasing_what_is_not_held_changes_nothing() -> None:
    task = a_task()
    assert step(task, Released(at=NOW)) == (task, ())


def test_another_priority_leaves_a_running_attempt_alone() -> None:
    task = a_running_task()
    after, effects = step(task, Reprioritised(at=NOW, priority=7))
    assert (after.state, after.priority, after.lease) == (TaskState.RUNNING, 7, task.lease)
    assert effects == ()


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
def test_a_retried_task_starts_as_if_new_under_another_result_name(state: TaskState) -> None:
    spec = Spec(name="sum", resources=Resources(memory_bytes=500))
    task = an_ended_task(
        state, spec=spec, memory_bytes=4000, failures=3, losses=3, not_before=NOW + 9
    )
    after, effects = step(task, Retried(at=NOW, result_name="sum.again"))
    assert (after.state, after.result_name) == (TaskState.QUEUED, "sum.again")
    assert (after.failures, after.losses, after.not_before) == (0, 0, 0.0)
    assert (after.memory_bytes, after.attempt, after.ending) == (500, 1, None)
    assert effects == ()


def test_a_task_that_is_done_is_not_retried() -> None:
    task = an_ended_task(TaskState.DONE)
    assert step(task, Retried(at=NOW, result_name="x")) == (task, ())


def test_an_attempt_from_before_a_retry_never_counts_again() -> None:
    task, _ = step(a_running_task(), Cancelled(at=NOW))
    task, _ = step(task, Delivered(at=NOW))
    task, _ = step(task, Retried(at=NOW, result_name="sum.again"))
    assert step(task, a_success(attempt=1)) == (task, (Discard(an_attempt(1)),))


# Twins


def test_a_twin_gets_a_copy_of_the_firsts_result() -> None:
    after, effects = step(a_waiting_task(), the_first_ended(TaskState.DONE, copied=True))
    assert after.ending is not None
    assert (after.ending.state, after.ending.copy_of) == (TaskState.DONE, FIRST)
    assert (after.ending.staged, after.ending.body_bytes) == (an_attempt(0), 70)
    assert (after.twin_of, after.attempt) == (None, 0)
    assert effects == (Deliver(after),)


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
def test_a_twin_runs_itself_when_the_first_did_not_succeed(state: TaskState) -> None:
    after, effects = step(a_waiting_task(), the_first_ended(state))
    assert (after.state, after.twin_of) == (TaskState.QUEUED, None)
    assert effects == ()


def test_a_twin_fails_when_the_firsts_result_was_taken_away_and_says_where_it_was() -> None:
    first = step(a_running_task(), a_success())[0]
    event = the_first_ended(TaskState.DONE, box="fold", history=first.history)
    after, _ = step(a_waiting_task(), event)
    assert after.ending is not None
    assert (after.ending.state, after.ending.cause) == (TaskState.FAILED, Cause.GONE)
    assert "results/fold/first.result" in after.ending.message
    assert "2026-02-02 02:40:02 UTC" in after.ending.message


def test_a_held_twin_stays_held_and_still_hears_of_the_first() -> None:
    held, _ = step(a_waiting_task(), Held(at=NOW))
    assert (held.state, held.twin_of) == (TaskState.HELD, FIRST)
    assert step(held, Released(at=NOW))[0] == a_waiting_task()
    alone, _ = step(held, the_first_ended(TaskState.FAILED))
    assert (alone.state, alone.twin_of) == (TaskState.HELD, None)
    copied, _ = step(held, the_first_ended(TaskState.DONE, copied=True))
    assert copied.state is TaskState.DELIVERING


def test_the_end_of_a_stranger_is_none_of_its_business() -> None:
    task = a_waiting_task(twin_of=an_attempt(0).task)
    assert step(task, the_first_ended(TaskState.FAILED))[0] is task


def test_a_copy_for_a_twin_that_was_cancelled_meanwhile_is_removed() -> None:
    task, _ = step(a_waiting_task(), Cancelled(at=NOW))
    event = the_first_ended(TaskState.DONE, copied=True)
    assert step(task, event) == (task, (Discard(an_attempt(0)),))


# Delivery


@pytest.mark.parametrize("state", [TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED])
def test_a_delivered_task_ends_as_decided(state: TaskState) -> None:
    after, effects = step(a_delivering_task(state), Delivered(at=NOW))
    assert after.state is state
    assert after.ending is not None
    assert effects == (Forget(after, payload=state is TaskState.DONE),)


def test_a_result_whose_name_was_taken_goes_there_under_another() -> None:
    task = a_delivering_task()
    after, effects = step(task, NameTaken(at=NOW, result_name="sum.1234"))
    assert (after.result_name, after.ending) == ("sum.1234", task.ending)
    assert effects == (Deliver(after),)


def test_a_delivery_that_is_told_twice_changes_nothing() -> None:
    task, _ = step(a_delivering_task(), Delivered(at=NOW))
    assert step(task, Delivered(at=NOW)) == (task, ())


def test_what_was_not_to_be_delivered_cannot_be() -> None:
    with pytest.raises(IllegalTransition):
        step(a_running_task(), Delivered(at=NOW))


def test_accepting_a_known_task_again_changes_nothing() -> None:
    task = a_running_task()
    assert step(task, Submitted(at=NOW, task=a_task())) == (task, ())


# What is owed


def test_a_running_task_owes_its_start_and_its_tidying() -> None:
    task = a_running_task(attempt=2)
    assert owed(task) == (Start(task), Discard(an_attempt(1)))


def test_a_task_in_the_queue_owes_nothing_but_its_tidying() -> None:
    assert owed(a_task()) == ()
    lost, _ = step(a_running_task(), a_loss())
    assert owed(lost) == ()
    failed, _ = step(a_running_task(), a_failure(Cause.SIGNAL))
    assert owed(failed) == (Discard(an_attempt(1)),)


def test_a_failed_task_keeps_its_payload_for_a_retry() -> None:
    task = an_ended_task(TaskState.FAILED)
    assert owed(task) == (Forget(task, payload=False),)


def test_a_task_that_is_lost_for_ever_does_not_grow_for_ever() -> None:
    task = a_task()
    for number in range(1, 101):
        event = Assigned(at=NOW, agent=LOCAL, token=token(number), wall=WALL)
        task, _ = step(task, event)
        task, effects = step(task, a_loss(number, counts=False, cause=Cause.CONNECTION))
    assert len(task.history) == 64
    assert task.history[-1].attempt == 100
    assert effects[-1] == Discard(an_attempt(36))
