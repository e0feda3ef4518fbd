"""How a task ends: the record of each sort of ending with its sentence, and what is owed then."""

from __future__ import annotations

from datetime import UTC, datetime

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Deliver, Discard, Effect, Stop
from spoolmw.model.events import (
    Cancelled,
    Lost,
    NameTaken,
    PredecessorsEnded,
    Reported,
    TwinEnded,
)
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.task import Ending, Tally, Task, TaskState
from spoolmw.rules import history as past
from spoolmw.rules.become import Step, become


def deliver(
    task: Task,
    ending: Ending,
    history: past.History,
    *,
    stop: bool = False,
    failures: int | None = None,
    losses: int | None = None,
) -> Step:
    """The end is decided: no report counts any more, and the files of other attempts may go.

    An attempt that was given up may run on at its host: it is stopped.
    """
    effects: tuple[Effect, ...] = ()
    if len(history) > 1 or ending.staged is None:
        effects = past.stops(task.attempt_id, history)
        history = past.closed(history)
    after = become(
        task,
        TaskState.DELIVERING,
        ending=ending,
        history=history,
        failures=failures,
        losses=losses,
    )
    effects += (Deliver(after),)
    for attempt in past.unwanted(after):
        effects += (Discard(attempt),)
    if stop and task.lease is not None:
        effects = (Stop(task.lease.agent, task.attempt_id, is_wanted=False), *effects)
    return after, effects


def rename(task: Task, event: NameTaken) -> Step:
    """A foreign file stands where the result was to go: it goes there under another name."""
    after = become(
        task, TaskState.DELIVERING, ending=task.ending, result_name=event.result_name
    )
    return after, (Deliver(after),)


def of_report(state: TaskState, event: Reported) -> Ending:
    """The attempt's file in `stage/` is the result; without one the daemon writes it."""
    has_file = event.body_bytes > 0 or state is TaskState.DONE
    return Ending(
        state=state,
        cause=event.cause,
        blame=event.blame,
        message=event.message,
        staged=event.attempt if has_file else None,
        body_bytes=event.body_bytes,
        digest=event.digest,
        files=event.files,
    )


def of_losses(event: Lost | Reported, losses: int) -> Ending:
    """So many losses in a row are no accident: the blame is the task's."""
    said = f" The last time: {event.message}" if event.message else ""
    what = "its runner or host" if event.cause is Cause.CONNECTION else "its worker"
    return Ending(
        state=TaskState.FAILED,
        cause=event.cause,
        blame=Blame.TASK,
        message=f"The task killed {what} {losses} times in a row"
        f" (the last cause: {event.cause.value}), so it is not tried again.{said}",
    )


def of_cancel(event: Cancelled) -> Ending:
    """The user did not want it any more."""
    return Ending(
        state=TaskState.CANCELLED,
        cause=Cause.CANCELLED,
        blame=Blame.USER,
        message=f"cancelled by {event.by}" if event.by else "cancelled",
    )


def of_predecessor(event: PredecessorsEnded) -> Ending:
    """It was to run after a task that failed, so it never ran."""
    return Ending(
        state=TaskState.FAILED, cause=event.cause, blame=event.blame, message=event.failed
    )


def of_copy(task: TaskId, event: TwinEnded) -> Ending:
    """A copy of the first task's result; it is staged as the attempt number 0 of this one."""
    return Ending(
        state=TaskState.DONE,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        staged=AttemptId(task, 0, 0),
        body_bytes=event.body_bytes,
        digest=event.digest,
        files=event.files,
        copy_of=event.first.id,
        trusted=event.trusted,
    )


def of_missing_copy(first: Task) -> Ending:
    """The first task with this key succeeded, but there is nothing left to copy."""
    where = f"results/{first.box}/" if first.box else "results/"
    ended_at = first.history[-1].ended_at if first.history else 0.0
    when = f" on {_utc(ended_at)}" if ended_at else ""
    return Ending(
        state=TaskState.FAILED,
        cause=Cause.GONE,
        blame=Blame.USER,
        message=f"Task {first.id} had the same key and was delivered{when} as"
        f" {where}{first.result_name}.result, but who consumed that result took it away,"
        " so there is nothing to copy. `spoolmw-ctl retry` runs this task once more.",
    )


def of_array(tally: Tally) -> Ending:
    """All elements of an array ended: DONE when all succeeded, else CANCELLED or FAILED as it was."""
    unwanted = tally.cancelled + tally.skipped
    counts = {"done": tally.done, "failed": tally.failed, "cancelled": unwanted}
    told = ", ".join(f"{number} {how}" for how, number in counts.items() if number)
    elements = f"{tally.total} element{'s' * (tally.total != 1)}: {told}"
    message = f"{tally.note}; {elements}" if tally.note else elements
    if tally.done == tally.total:
        return Ending(
            state=TaskState.DONE, cause=Cause.FINISHED, blame=Blame.NONE, message=message
        )
    if tally.broken:
        return Ending(
            state=TaskState.FAILED, cause=Cause.GONE, blame=Blame.USER, message=message
        )
    if tally.failed and not tally.note:
        return Ending(
            state=TaskState.FAILED, cause=Cause.ELEMENTS, blame=Blame.TASK, message=message
        )
    return Ending(
        state=TaskState.CANCELLED, cause=Cause.CANCELLED, blame=Blame.USER, message=message
    )


def _utc(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC"
