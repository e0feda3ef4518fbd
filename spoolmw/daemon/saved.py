"""What stands in `checkpoints/`, held against the tasks: at a start, a rebuild, a prune, a fsck.

Rule: the folder is the truth about what exists. The journal's row says only what was told, and
an attempt may have saved more than a daemon that died came to hear.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.model.attempt import Saved
from spoolmw.model.ids import TaskId
from spoolmw.model.replica import Replica
from spoolmw.model.spec import Checkpoint
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir import checkpoints
from spoolmw.spooldir.checkpoints import Found
from spoolmw.spooldir.layout import Layout


def may_have(task: Task) -> bool:
    """Whether it is worth a look: an attempt that was lost may have saved what nobody told of."""
    return task.spec.checkpoint.asked or any(
        one.saved is not None or one.attempt > 1 for one in _of(task)
    )


def _of(task: Task) -> tuple[Task | Replica, ...]:
    """What has attempts, and so checkpoints: the task itself, or its replicas."""
    return (task,) if task.ballot is None else task.ballot.replicas


def taken_up(layout: Layout, task: Task) -> Task:
    """A task of which the journal knew nothing, with what its checkpoints tell.

    Its attempts are counted on from those that saved, so that what they save next is newer.
    """
    if task.ballot is not None:
        replicas = tuple(_counted_on(layout, each) for each in task.ballot.replicas)
        return replace(task, ballot=replace(task.ballot, replicas=replicas))
    if (newest := _newest(layout, task.id)) is None:
        return task
    return replace(task, attempt=max(task.attempt, newest.order.attempt), saved=record(newest))


def _counted_on(layout: Layout, replica: Replica) -> Replica:
    if (newest := _newest(layout, replica.task, replica.number)) is None:
        return replica
    attempt = max(replica.attempt, newest.order.attempt)
    return replace(replica, attempt=attempt, saved=record(newest))


def _newest(layout: Layout, task: TaskId, replica: int = 0) -> Found | None:
    found = checkpoints.of_replica(layout, task, replica)
    return found[-1] if found else None


def kept(task: Task) -> Task:
    """A done task whose wishes nobody knows any more: what it still has was kept by its wish."""
    if task.saved is None:
        return task
    wish = Checkpoint(asked=True, keep=True)
    return replace(task, spec=replace(task.spec, checkpoint=wish))


def record(found: Found) -> Saved:
    """A checkpoint as the journal remembers it."""
    size = 0
    for folder, _, names in os.walk(found.path):
        size += sum(os.lstat(f"{folder}/{name}").st_size for name in names)
    return Saved(*found.order, found.path.stat().st_mtime, size)


def tidy(layout: Layout, table: Table, known: Callable[[TaskId], Task | None]) -> None:
    """At a start, when nothing runs: what a crash kept from being removed goes.

    The folders of unknown tasks stay: `fsck` tells of them, `prune` removes them.
    """
    for task_id in checkpoints.tasks(layout):
        task = table.get(task_id) or known(task_id)
        if task is None:
            continue
        try:
            _tidy_task(layout, task)
        except OSError as error:
            log.warning("left behind %s", fields(checkpoints=task_id, why=error))


def _tidy_task(layout: Layout, task: Task) -> None:
    if task.state is TaskState.DONE and not task.spec.checkpoint.keep:
        checkpoints.remove(layout, task.id)
        return
    checkpoints.remove_halves(layout, task.id)
    for number, one in enumerate(_of(task)):
        if (newest := _newest(layout, task.id, number)) is not None:
            checkpoints.trim(layout, task.id, number, newest.order, one.since)


def prune(
    layout: Layout, is_open: Callable[[TaskId], bool], before: float, *, dry: bool = False
) -> tuple[int, int]:
    """Remove the checkpoints that no open task has and that were saved before `before`.

    Returns of how many tasks, and their bytes. Raises OSError.
    """
    gone = size = 0
    for task_id in checkpoints.tasks(layout):
        found = checkpoints.of_task(layout, task_id)
        if is_open(task_id) or _touched(layout, task_id) >= before:
            continue
        gone, size = gone + 1, size + sum(record(each).size_bytes for each in found)
        if not dry:
            checkpoints.remove(layout, task_id)
    return gone, size


def _touched(layout: Layout, task_id: TaskId) -> float:
    """When a checkpoint last came or went; wall clock."""
    folder = layout.checkpoints / task_id
    return max(each.stat().st_mtime for each in (folder, *folder.iterdir()))


def orphans(layout: Layout, known: Callable[[list[TaskId]], Iterable[str]]) -> list[TaskId]:
    """The tasks that have checkpoints but are in no journal."""
    there = list(checkpoints.tasks(layout))
    found = set(known(there))
    return [task_id for task_id in there if task_id not in found]
