"""What `map` returns: its tasks, and their values in order."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from spoolmw.client.future import Ended, SpoolTask


class Cancels(Protocol):
    """What a map needs of its spool."""

    def cancel_many(self, tasks: Iterable[SpoolTask], *, waiting_only: bool) -> list[SpoolTask]:
        """Cancel these tasks; those that now will not end otherwise."""


class TaskMap:
    """Many calls of one function. Iterating gives their values in the order of the arguments.

    `tasks` are the futures, one for each chunk; with chunks a task's value is a list.
    """

    def __init__(
        self,
        tasks: Sequence[SpoolTask],
        link: Cancels,
        *,
        chunk: int = 1,
        timeout: float | None = None,
    ) -> None:
        self.tasks = list(tasks)
        self._link = link
        self._chunk = chunk
        self._until = None if timeout is None else time.monotonic() + timeout

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Any]:
        """Each value as soon as it and those before it are there; raises what a call raised."""
        values = (self._value(task) for task in self.tasks)
        return values if self._chunk == 1 else itertools.chain.from_iterable(values)

    def _value(self, task: SpoolTask) -> Any:
        if self._until is None:
            return task.result()
        return task.result(max(0.0, self._until - time.monotonic()))

    def results(self) -> list[Any]:
        """All values, in order."""
        return list(self)

    def cancel(self) -> None:
        """Cancel what has not ended."""
        open_tasks = [task for task in self.tasks if not task.done()]
        for task in self._link.cancel_many(open_tasks, waiting_only=False):
            task.end(Ended(cancelled=True))

    def __repr__(self) -> str:
        done = sum(task.done() for task in self.tasks)
        return f"<TaskMap {done} of {len(self.tasks)} tasks done>"


def run_chunk(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call `function` with each of `calls`. Runs on the host."""
    values = []
    desk = getattr(sys.modules.get("spoolmw_runner.desk"), "desk", None)
    for number, args in enumerate(calls):
        if desk is not None:  # a task has one state to save, and these calls one each
            desk.part = (number, len(calls))
        try:
            values.append(function(*args))
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(
                    f"in call {number + 1} of {len(calls)} of this chunk: {args!r:.200}"
                )
            raise
    return values


# By value, as what is defined in `__main__` travels: a host need not have this package.
run_chunk.__module__ = "__main__"
