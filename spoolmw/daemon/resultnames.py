"""Chooses names of results: nobody ever waits for a name that another task got."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from spoolmw.daemon.table import Table
from spoolmw.format.resultfile import read_trailer
from spoolmw.format.taskfile import default_result_name
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.spooldir.layout import Layout

#: Who drops a file chooses its name: a number in it is believed up to here.
MOST_TOLD = 1000


class ResultNames:
    """Knows which names are taken, by open tasks and by files in `results/`."""

    def __init__(self, layout: Layout, table: Table) -> None:
        self._results = f"{layout.results}/"
        self._table = table

    def choose(self, task_id: TaskId, box: str, base: str) -> str:
        """The name of a new task's result: `base`, with the id behind it where that is taken."""
        if base.endswith(task_id):
            return base
        return f"{base}.{task_id}" if self.is_taken(box, base) else base

    def choose_again(self, task: Task) -> str:
        """A name for the next result of a task that ended: its old one, where that is free now."""
        base, again = _base(task), task.attempt + 1
        if task.element is None and (task.tally is not None or task.ballot is not None):
            again = self._free_number(task, base)  # it has no attempts of its own
        name = self.choose(task.id, task.box, base)
        if not self.is_taken(task.box, name):
            return name
        return f"{base}.{task.id}.{again}"

    def _free_number(self, task: Task, base: str) -> int:
        numbers = range(2, 1_000_000)
        return next(n for n in numbers if not self.is_taken(task.box, f"{base}.{task.id}.{n}"))

    def is_taken(self, box: str, name: str) -> bool:
        """Whether a result in this box can have this name no more."""
        place = f"{self._results}{box}/{name}"
        return (
            (box, name) in self._table.names
            or os.path.lexists(f"{place}.result")
            or os.path.lexists(f"{place}.files")
        )


def names_of(task: Task) -> Iterator[str]:
    """Every name that a result of `task` can have: the newest one's, and those before a retry."""
    # After a rebuild only the newest name may be known.
    base = _base(task).partition(f".{task.id}")[0]
    own = f"{base}.{task.id}"
    last = task.result_name.partition(f"{own}.")[2]
    told = min(int(last), MOST_TOLD) if last.isdecimal() else 0
    numbers = max(task.attempt + 1, told)
    again = (f"{own}.{number}" for number in range(1, numbers + 1))
    yield from dict.fromkeys((task.result_name, base, own, *again))


def is_of(path: str | os.PathLike[str], task_id: TaskId) -> bool:
    """Its consumer left the result where it was put, and no other task got its name.

    Raises OSError or BadResultFile for what cannot be told.
    """
    return stat.S_ISREG(os.lstat(path).st_mode) and read_trailer(path).get("id") == task_id


def _base(task: Task) -> str:
    """What the result of `task` is called where that is free."""
    if task.element is not None:
        return task.result_name.partition(f".{task.id}")[0]
    return default_result_name(task.dropped)
