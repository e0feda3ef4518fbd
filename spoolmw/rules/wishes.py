"""What users wish of a task that needs no word to an agent: later, sooner, once more."""

from __future__ import annotations

from spoolmw.model.events import Released, Reprioritised, Retried
from spoolmw.model.task import Task, TaskState
from spoolmw.rules import array, saving
from spoolmw.rules.become import Step, become, ready_state


def release(task: Task, event: Released) -> Step:
    """The user lets it go on: to its place in the queue, or to wait for other tasks."""
    waits = task.waits or task.twin_of is not None
    state = TaskState.WAITING if waits else ready_state(task)
    return become(task, state, twin_of=task.twin_of, waits=task.waits), ()


def reprioritise(task: Task, event: Reprioritised) -> Step:
    """The user wants it sooner or later than others; a running attempt is left alone."""
    after = become(
        task,
        task.state,
        lease=task.lease,
        twin_of=task.twin_of,
        waits=task.waits,
        priority=event.priority,
    )
    return after, ()


def retry(task: Task, event: Retried) -> Step:
    """Once more, as if new; from its newest checkpoint if not fresh. Attempts are counted on."""
    if task.tally is not None:
        return array.retry(task, event)
    waits = bool(task.spec.after)
    after = become(
        task,
        TaskState.WAITING if waits else TaskState.QUEUED,
        waits=waits,
        failures=0,
        losses=0,
        not_before=0.0,
        memory_bytes=task.spec.resources.memory_bytes,
        result_name=event.result_name,
        since=task.attempt + 1 if event.fresh else None,
    )
    return after, saving.owed(after) if event.fresh else ()
