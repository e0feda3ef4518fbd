"""Files beside an active one that remember the user's hold or cancel, should the journal be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import SHARDS, Layout, shard_of


class Mark(Enum):
    """What the user wanted of a task; the value is the marker file's suffix."""

    HOLD = "hold"
    CANCEL = "cancel"


def put(layout: Layout, task_id: TaskId, mark: Mark) -> None:
    """Leave the marker; the tick's sync makes it durable. May be repeated."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(_path(layout, task_id, mark), flags, 0o600))


def is_there(layout: Layout, task_id: TaskId, mark: Mark) -> bool:
    """The user wanted this of the task, and did not take it back."""
    return _path(layout, task_id, mark).exists()


def remove(layout: Layout, task_id: TaskId, mark: Mark) -> None:
    """Take the marker away where there is one."""
    _path(layout, task_id, mark).unlink(missing_ok=True)


def clear(layout: Layout, task_id: TaskId) -> None:
    """Take all markers of a task away."""
    for mark in Mark:
        remove(layout, task_id, mark)


def found(layout: Layout) -> Iterator[tuple[TaskId, Mark]]:
    """Every marker in the spool."""
    suffixes = {f".{mark.value}": mark for mark in Mark}
    for shard in SHARDS:
        for name in os.listdir(layout.active / shard):
            stem, dot, suffix = name.rpartition(".")
            mark = suffixes.get(dot + suffix)
            if mark is not None and len(stem) == 32:
                yield TaskId(stem), mark


def _path(layout: Layout, task_id: TaskId, mark: Mark) -> Path:
    return layout.active / shard_of(task_id) / f"{task_id}.{mark.value}"
