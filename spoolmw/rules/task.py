"""The task's state machine: what an event makes of a task, and what the world must be told.

Rule 1: whatever changes a task's state stands in one table, `TRANSITIONS`, and in this file, but
for what it waits for (`rules.waiting`), what an array does as a whole (`rules.array`) and how it
ends (`rules.endings`).
Rule 2: no clock and no chance: `event.at` is the only "now", `event.jitter` the only luck.
Rule 3: what `step` orders is owed by the state it leads to, so a crash before an order is
carried out loses nothing: `owed` repeats it. `Stop` alone is not owed: an attempt without a
lease shows up as an orphan in its agent's sightings.
Rule 4: what comes too late, twice or with a wrong token changes nothing; it may only order that
a file which nobody wants is removed from `stage/`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from spoolmw.model.attempt import Blame, Cause, Lease, Outcome
from spoolmw.model.effects import Deliver, Discard, Effect, Forget, Start, Stop
from spoolmw.model.events import (
    Advanced,
    Assigned,
    Brought,
    Cancelled,
    Checkpointed,
    Delivered,
    Event,
    Held,
    Lost,
    NameTaken,
    PredecessorsEnded,
    Released,
    Reported,
    Reprioritised,
    Resolved,
    Resumed,
    Retried,
    Started,
    TwinEnded,
)
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules import array, endings, redundant, saving, waiting, wishes
from spoolmw.rules import history as past
from spoolmw.rules.become import Rule, Step, become, impossible
from spoolmw.rules.endings import deliver
from spoolmw.rules.retry import (
    AGENT_BACKOFF_S,
    are_too_many,
    backoff_s,
    is_worth_another,
    memory_after,
)

WAITING = TaskState.WAITING
QUEUED = TaskState.QUEUED
HELD = TaskState.HELD
EXPANDING = TaskState.EXPANDING
RUNNING = TaskState.RUNNING
DELIVERING = TaskState.DELIVERING
DONE = TaskState.DONE
FAILED = TaskState.FAILED
CANCELLED = TaskState.CANCELLED


# A tuple is looked through in a fifth of the time of a union, which is made anew each time.
_SAVED: Final = (Resumed, Checkpointed)
_OF_ATTEMPT: Final = (Started, Lost)
_OF_OTHERS: Final = (TwinEnded, Resolved, PredecessorsEnded)


def step(task: Task, event: Event) -> Step:
    """What `event` makes of `task`, and what the world must then be told to do.

    The very same `task` comes back where the event changes nothing.
    """
    if task.ballot is not None:
        return redundant.step(task, event)
    if is_late(task, event):
        return task, _left_behind(task, event)
    rule = TRANSITIONS.get((task.state, type(event)))
    if rule is None:
        raise impossible(task, event)
    return rule.apply(task, event)


def owed(task: Task) -> tuple[Effect, ...]:
    """What the world must be told again after a crash, read off the state alone."""
    if task.ballot is not None:
        return redundant.owed(task, task.ballot)
    discards = tuple(Discard(attempt) for attempt in past.unwanted(task))
    match task.state:
        case TaskState.WAITING | TaskState.QUEUED | TaskState.HELD | TaskState.EXPANDING:
            return (*saving.owed(task), *discards)
        case TaskState.RUNNING | TaskState.VALIDATING:
            return (Start(task), *saving.owed(task), *discards)
        case TaskState.DELIVERING:
            return (Deliver(task), *discards)
        case TaskState.DONE | TaskState.FAILED | TaskState.CANCELLED:
            return (Forget(task, payload=task.state is DONE), *discards)


def is_late(task: Task, event: Event) -> bool:
    """Whether `event` comes too late or twice, is forged, or wants what is so already."""
    if isinstance(event, Reported):
        return not (_is_own(task, event) or _is_late_success(task, event))
    if isinstance(event, _SAVED):
        return saving.is_late(task, event)
    if isinstance(event, _OF_ATTEMPT):
        return task.lease is None or event.attempt != task.attempt_id
    if isinstance(event, _OF_OTHERS):
        return waiting.is_late(task, event)
    is_no_array = isinstance(event, Advanced) and task.tally is None
    return is_no_array or is_ignored(task.state, type(event))


def is_ignored(state: TaskState, kind: type[Event]) -> bool:
    """Whether any event of this kind changes nothing in `state`; without a rule else, it is a bug."""
    if (state, kind) in TRANSITIONS or kind is Assigned:
        return False
    return kind not in _ONCE or state in FINAL


def _is_own(task: Task, event: Reported) -> bool:
    lease = task.lease
    return (
        lease is not None
        and event.attempt.attempt == task.attempt
        and event.token == lease.token
        and event.attempt.task == task.id
    )


def _is_late_success(task: Task, event: Reported) -> bool:
    return (
        event.outcome is Outcome.SUCCESS
        and task.ending is None
        and event.attempt.task == task.id
        and past.may_still_report(task, event.attempt.attempt, event.token)
    )


def _left_behind(task: Task, event: Event) -> tuple[Effect, ...]:
    """Files in `stage/` that came with a late event and that nobody wants."""
    if isinstance(event, Reported) and event.attempt in past.unwanted(task):
        return (Discard(event.attempt),)
    return waiting.left_behind(task, event)


def _assign(task: Task, event: Assigned) -> Step:
    """A slot is free: the attempt gets its number and its token, then it starts."""
    lease = Lease(agent=event.agent, token=event.token, assigned_at=event.wall)
    after = become(task, RUNNING, attempt=task.attempt + 1, lease=lease)
    return after, (Start(after),)


def _begin(task: Task, event: Started) -> Step:
    """The agent says since when and where the attempt really runs."""
    assert task.lease is not None
    lease = replace(task.lease, started_at=event.started_at, host=event.host, slot=event.slot)
    return become(task, RUNNING, lease=lease), ()


def _report(task: Task, event: Reported) -> Step:
    """The attempt ended by itself: its result is delivered, or it is tried again."""
    if event.attempt.attempt != task.attempt:
        return _report_late(task, event)
    history = past.with_report(task, event)
    if event.outcome is Outcome.SUCCESS:
        return deliver(task, endings.of_report(DONE, event), history, losses=0)
    if event.blame is not Blame.TASK:
        return _lose(task, event, history)
    failures = task.failures + 1
    if not is_worth_another(task, event.cause, event.exit_code):
        return deliver(
            task, endings.of_report(FAILED, event), history, failures=failures, losses=0
        )
    pause_s = backoff_s(task.spec.retry.backoff_s, failures, event.jitter)
    after = become(
        task,
        QUEUED,
        failures=failures,
        losses=0,
        history=history,
        not_before=event.at + pause_s,
        memory_bytes=memory_after(task.memory_bytes, task.spec.retry, event.cause),
    )
    return after, (Discard(event.attempt),)


def _report_late(task: Task, event: Reported) -> Step:
    """An attempt that was given up succeeded after all; a newer one is stopped."""
    history = task.history
    if task.lease is not None:
        why = f"attempt {event.attempt.attempt} reported after all"
        history = past.with_stop(task, Cause.SUPERSEDED, Blame.NONE, why, event.ended_at)
    history = past.with_late_success(history, event)
    return deliver(task, endings.of_report(DONE, event), history, stop=True, losses=0)


def _lose_attempt(task: Task, event: Lost) -> Step:
    """The attempt is gone without a result: a free repetition, until they are too many."""
    return _lose(task, event, past.with_loss(task, event))


def _lose(task: Task, event: Lost | Reported, history: past.History) -> Step:
    counts = event.counts if isinstance(event, Lost) else True
    losses = task.losses + counts
    if counts and are_too_many(losses, event.cause):
        return deliver(task, endings.of_losses(event, losses), history, losses=losses)
    pause_s = 0.0
    if event.blame is Blame.AGENT:
        faults = past.agent_faults_in_a_row(history)
        pause_s = backoff_s(AGENT_BACKOFF_S, faults, event.jitter)
    after = become(task, QUEUED, losses=losses, history=history, not_before=event.at + pause_s)
    return after, tuple(Discard(each) for each in past.unwanted(after))


def _cancel(task: Task, event: Cancelled) -> Step:
    """The user's will: a running attempt is stopped, and a result that says so is delivered."""
    if task.tally is not None:
        return array.cancel(task, event)
    ending = endings.of_cancel(event)
    if task.lease is None:
        return deliver(task, ending, task.history)
    history = past.with_stop(task, Cause.CANCELLED, Blame.USER, ending.message, event.wall)
    return deliver(task, ending, history, stop=True)


def _hold(task: Task, event: Held) -> Step:
    """The user wants it to wait: a running attempt is stopped, and what was given up and may run."""
    stops = past.stops(task.attempt_id, task.history, is_wanted=True)
    if task.lease is None:
        return become(task, HELD, twin_of=task.twin_of, waits=task.waits), stops
    message = f"held by {event.by}" if event.by else "held"
    history = past.with_stop(task, Cause.HELD, Blame.USER, message, event.wall)
    after = become(task, HELD, history=history)
    discards = (Discard(each) for each in past.unwanted(after))
    return after, (Stop(task.lease.agent, task.attempt_id), *stops, *discards)


def _finish(task: Task, event: Delivered) -> Step:
    """The result stands in `results/`: the task ends as its ending says."""
    assert task.ending is not None
    after = become(task, task.ending.state, ending=task.ending)
    return after, (Forget(after, payload=after.state is DONE),)


#: The whole machine. docs/states.md is generated from this table.
TRANSITIONS: Final[dict[tuple[TaskState, type[Event]], Rule]] = {
    (WAITING, TwinEnded): Rule(waiting.hear_of_twin, (DELIVERING, QUEUED, EXPANDING, WAITING)),
    (WAITING, Resolved): Rule(waiting.resolve, (WAITING,)),
    (WAITING, PredecessorsEnded): Rule(
        waiting.hear_of_predecessors, (QUEUED, EXPANDING, WAITING, DELIVERING, HELD)
    ),
    (WAITING, Held): Rule(_hold, (HELD,)),
    (WAITING, Brought): Rule(saving.bring, (WAITING,)),
    (WAITING, Reprioritised): Rule(wishes.reprioritise, (WAITING,)),
    (WAITING, Cancelled): Rule(_cancel, (DELIVERING,)),
    (EXPANDING, Advanced): Rule(array.advance, (EXPANDING, DELIVERING)),
    (EXPANDING, Held): Rule(_hold, (HELD,)),
    (EXPANDING, Reprioritised): Rule(wishes.reprioritise, (EXPANDING,)),
    (EXPANDING, Retried): Rule(array.retry, (EXPANDING,)),
    (EXPANDING, Cancelled): Rule(_cancel, (EXPANDING, DELIVERING)),
    (QUEUED, Assigned): Rule(_assign, (RUNNING,)),
    (QUEUED, Reported): Rule(_report_late, (DELIVERING,)),
    (QUEUED, Held): Rule(_hold, (HELD,)),
    (QUEUED, Brought): Rule(saving.bring, (QUEUED,)),
    (QUEUED, Reprioritised): Rule(wishes.reprioritise, (QUEUED,)),
    (QUEUED, Cancelled): Rule(_cancel, (DELIVERING,)),
    (HELD, TwinEnded): Rule(waiting.hear_of_twin, (DELIVERING, HELD)),
    (HELD, Resolved): Rule(waiting.resolve, (HELD,)),
    (HELD, PredecessorsEnded): Rule(waiting.hear_of_predecessors, (HELD, DELIVERING)),
    (HELD, Reported): Rule(_report_late, (DELIVERING,)),
    (HELD, Advanced): Rule(array.advance, (HELD, DELIVERING)),
    (HELD, Released): Rule(wishes.release, (QUEUED, EXPANDING, WAITING)),
    (HELD, Brought): Rule(saving.bring, (HELD,)),
    (HELD, Reprioritised): Rule(wishes.reprioritise, (HELD,)),
    (HELD, Cancelled): Rule(_cancel, (DELIVERING, EXPANDING)),
    (RUNNING, Started): Rule(_begin, (RUNNING,)),
    (RUNNING, Resumed): Rule(saving.resume, (RUNNING,)),
    (RUNNING, Checkpointed): Rule(saving.checkpoint, (RUNNING,)),
    (RUNNING, Reported): Rule(_report, (DELIVERING, QUEUED)),
    (RUNNING, Lost): Rule(_lose_attempt, (QUEUED, DELIVERING)),
    (RUNNING, Held): Rule(_hold, (HELD,)),
    (RUNNING, Reprioritised): Rule(wishes.reprioritise, (RUNNING,)),
    (RUNNING, Cancelled): Rule(_cancel, (DELIVERING,)),
    (DELIVERING, NameTaken): Rule(endings.rename, (DELIVERING,)),
    (DELIVERING, Delivered): Rule(_finish, (DONE, FAILED, CANCELLED)),
    (FAILED, Brought): Rule(saving.bring, (FAILED,)),
    (FAILED, Retried): Rule(wishes.retry, (QUEUED, WAITING, EXPANDING)),
    (CANCELLED, Brought): Rule(saving.bring, (CANCELLED,)),
    (CANCELLED, Retried): Rule(wishes.retry, (QUEUED, WAITING, EXPANDING)),
}

#: Facts that our own delivery tells; told again when the task has ended, they are late.
_ONCE: Final = frozenset({Delivered, NameTaken})
