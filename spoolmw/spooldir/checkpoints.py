"""The folders of checkpoints: `checkpoints/TASK/REPLICA/ATTEMPT-SEQUENCE/`, each one immutable.

A checkpoint is made beside its place, as `.ATTEMPT-SEQUENCE.tmp`, and renamed when it is whole,
so a folder with a proper name holds one that was whole once. What is inside is the business of
`runner`; here folders are listed and removed.

Rule: whoever removes one takes its name away first, so that nobody finds half of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import Layout

KEPT = 2  #: whole checkpoints of each replica
_NAME = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
_HALF = re.compile(r"\.(\d{1,9})-(\d{1,9})\.(tmp|gone)", re.ASCII)
_TASK = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Order(NamedTuple):
    """Of two checkpoints of a replica the one with the higher order is the newer."""

    attempt: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.sequence}"


class Found(NamedTuple):
    """One checkpoint in the spool."""

    task: TaskId
    replica: int
    order: Order
    path: Path


def place(layout: Layout, task: TaskId, replica: int = 0) -> Path:
    """The folder of a replica's checkpoints, which need not exist."""
    return layout.checkpoints / task / str(replica)


def of_replica(layout: Layout, task: TaskId, replica: int = 0) -> list[Found]:
    """A replica's checkpoints, the oldest first."""
    folder = place(layout, task, replica)
    return [
        Found(task, replica, order, folder / str(order)) for order in sorted(_orders(folder))
    ]


def of_task(layout: Layout, task: TaskId) -> list[Found]:
    """All checkpoints of a task, those of each replica the oldest first."""
    found: list[Found] = []
    for name in sorted(_names(layout.checkpoints / task)):
        if name.isdecimal():
            found += of_replica(layout, task, int(name))
    return found


def tasks(layout: Layout) -> Iterator[TaskId]:
    """Every task that has a folder here, with checkpoints or without."""
    for name in sorted(_names(layout.checkpoints)):
        if _TASK.fullmatch(name):
            yield TaskId(name)


def outdated(there: Iterable[Order], newest: Order | None, since: int) -> list[Order]:
    """Which are not needed any more: all but `newest`, the one before it and any newer one.

    Those of attempts before `since` do not count, so none of them is needed; without a `newest`
    they are all that may go.
    """
    last = newest or Order(since, 0)
    known = sorted(order for order in there if order <= last)
    counting = [order for order in known if order.attempt >= since]
    return [order for order in known if order not in counting[-KEPT:]]


def trim(layout: Layout, task: TaskId, replica: int, newest: Order | None, since: int) -> None:
    """Remove what is `outdated`, and halves that are no newer: nobody is writing them any more.

    Raises OSError.
    """
    last = newest or Order(since, 0)
    folder = place(layout, task, replica)
    names = _names(folder)
    for order in outdated(filter(None, map(_order, names)), newest, since):
        _remove(folder, order)
    for name in names:
        half = _HALF.fullmatch(name)
        if half and Order(int(half[1]), int(half[2])) <= last:
            shutil.rmtree(folder / name, ignore_errors=True)


def remove(layout: Layout, task: TaskId) -> None:
    """Remove all checkpoints of a task, where there are any. Raises OSError."""
    folder = layout.checkpoints / task
    for found in of_task(layout, task):
        _hide(found.path)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def remove_one(layout: Layout, task: TaskId, order: Order, replica: int = 0) -> None:
    """Remove one checkpoint, where it is there. Raises OSError."""
    _remove(place(layout, task, replica), order)


def remove_halves(layout: Layout, task: TaskId) -> None:
    """Remove what was being written or removed; only when no attempt of the task runs."""
    for name in _names(layout.checkpoints / task):
        folder = layout.checkpoints / task / name
        for half in _names(folder):
            if _HALF.fullmatch(half):
                shutil.rmtree(folder / half, ignore_errors=True)


def _remove(folder: Path, order: Order) -> None:
    hidden = _hide(folder / str(order))
    if hidden is not None:
        shutil.rmtree(hidden)


def _hide(path: Path) -> Path | None:
    """Take the name away; what is removed under its name could be found half there."""
    hidden = path.with_name(f".{path.name}.gone")
    shutil.rmtree(hidden, ignore_errors=True)  # of a removal that was killed
    try:
        path.rename(hidden)
    except FileNotFoundError:
        return None
    return hidden


def _orders(folder: Path) -> list[Order]:
    return [order for order in map(_order, _names(folder)) if order]


def _order(name: str) -> Order | None:
    match = _NAME.fullmatch(name)
    return Order(int(match[1]), int(match[2])) if match else None


def _names(folder: Path) -> list[str]:
    if os.path.islink(folder):  # nothing outside of the spool is ours to remove
        return []
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
