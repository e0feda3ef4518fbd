"""What checkpoints mean to a task: its losses count anew, and the next attempt goes on from there.

Rule: an attempt's number fences. Only the running attempt's own checkpoints count, and only
those of attempts from `since` on; what a late one tells changes nothing.
"""

from __future__ import annotations

from spoolmw.model.attempt import Saved
from spoolmw.model.effects import Effect, Trim
from spoolmw.model.events import Brought, Checkpointed, Resumed
from spoolmw.model.replica import Replica
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.become import Step, become


def is_late(task: Task | Replica, event: Resumed | Checkpointed) -> bool:
    """Whether it is another attempt's than the running one's, or was told before."""
    if task.lease is None or event.attempt != task.attempt_id:
        return True
    if isinstance(event, Resumed):
        fenced = event.saved is not None and event.saved.attempt < task.since
        has_saved = task.saved is not None and task.saved.attempt == task.attempt
        return fenced or has_saved
    told = event.attempt.attempt, event.sequence
    return task.saved is not None and told <= task.saved.order


def resume(task: Task, event: Resumed) -> Step:
    """The attempt took up a checkpoint, maybe an older one because the newest was damaged."""
    after = become(
        task, TaskState.RUNNING, lease=task.lease, saved=event.saved, since=task.since
    )
    return after, ()


def checkpoint(task: Task, event: Checkpointed) -> Step:
    """The attempt got further: its losses count anew, and only the two newest are kept."""
    after = become(task, TaskState.RUNNING, lease=task.lease, losses=0, saved=saved_by(event))
    return after, owed(after)


def saved_by(event: Checkpointed) -> Saved:
    """The record of the checkpoint that was made."""
    return Saved(
        attempt=event.attempt.attempt,
        sequence=event.sequence,
        saved_at=event.saved_at,
        size_bytes=event.size_bytes,
    )


def bring(task: Task, event: Brought) -> Step:
    """A checkpoint from elsewhere: the next attempt goes on from it."""
    after = become(
        task,
        task.state,
        ending=task.ending,
        twin_of=task.twin_of,
        waits=task.waits,
        saved=event.saved,
        since=min(task.since, event.saved.attempt),
    )
    return after, () if after.state in FINAL else owed(after)


def owed(task: Task) -> tuple[Effect, ...]:
    """What an open task's checkpoints owe, read off the state alone."""
    if task.saved is None and not task.since:
        return ()
    return (Trim(task.id, task.saved, task.since),)
