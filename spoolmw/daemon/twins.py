"""Drops with one key: each waits for the one before it and gets a copy of its result."""

from __future__ import annotations

from dataclasses import replace

from spoolmw.daemon.deliver import Delivery
from spoolmw.model.events import TwinEnded
from spoolmw.model.task import Blame, Cause, Ending, Task, TaskState


def beside(now: float, delivery: Delivery, twin: Task, first: Task) -> TwinEnded:
    """`first` is about to be delivered as DONE: its staged result is copied for `twin`.

    Later would be too late: a consumer may take the result as soon as it is published.
    Raises OSError when there is no room for the copy.
    """
    return _ended(now, twin, first, copied=delivery.copy_staged(first, twin))


def ended(now: float, delivery: Delivery, twin: Task, first: Task) -> TwinEnded:
    """`first` ended before: its delivered result is copied if nobody took it. Raises OSError."""
    copied = first.state is TaskState.DONE and delivery.copy_delivered(first, twin)
    return _ended(now, twin, first, copied=copied)


def forgotten(twin: Task) -> Task:
    """Stands for a first task that was pruned: as if it had failed, so that `twin` runs itself."""
    assert twin.twin_of is not None
    ending = Ending(state=TaskState.FAILED, cause=Cause.GONE, blame=Blame.NONE)
    return replace(twin, id=twin.twin_of, state=TaskState.FAILED, ending=ending, twin_of=None)


def _ended(now: float, twin: Task, first: Task, *, copied: bool) -> TwinEnded:
    ending = first.ending
    assert ending is not None
    return TwinEnded(
        at=now,
        first=first,
        copied=copied,
        body_bytes=ending.body_bytes if copied else 0,
        digest=ending.digest if copied else "",
        files=copied and ending.files,
    )
