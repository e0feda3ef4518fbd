"""What all submitters and tasks of one `Spool` object share: its folders, its waiting thread.

It outlives forks: a child waits for what it submits itself, and for what it inherited.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spoolmw.client.control import ControlClient
from spoolmw.client.dropper import Dropper
from spoolmw.client.future import Progress, SpoolTask
from spoolmw.client.waiter import Waiter
from spoolmw.errors import NotServed, SpoolmwError, UnknownTask
from spoolmw.spooldir.layout import Layout

#: Seconds in which a task that left `incoming/` must have become known to the daemon.
ACCEPT_S = 2.0
_RETRY_S = 0.05
#: Beyond so many tasks their progress is asked for without naming them: only few run.
MOST_NAMED = 1000
#: Seconds that the results of arrays of maps may still take when the interpreter ends.
ARRAY_S = 0.5
#: Seconds that a callback may still take when the interpreter ends.
CALLBACK_S = 10.0

log = logging.getLogger("spoolmw.client")


class Link:
    """The connection between a process and a spool."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.waiter = Waiter(layout)
        self._droppers: dict[str, Dropper] = {}
        _links.add(self)

    def dropper(self, box: str) -> Dropper:
        """Who drops files into this box."""
        if box not in self._droppers:
            self._droppers[box] = Dropper(self.layout, box)
        return self._droppers[box]

    def control(self) -> ControlClient:
        """A new connection to the daemon; to be closed soon, as it has only some."""
        return ControlClient(self.layout.root)

    # -- what a task asks of its keeper ---------------------------------------------------

    def ensure(self) -> None:
        self.waiter.ensure()

    def wait_for(self, task: SpoolTask) -> None:
        self.waiter.add(task)

    def state(self, task: SpoolTask) -> str:
        """The task's state as the daemon has it; "" when that cannot be told."""
        try:
            with self.control() as control:
                return str(control.request("show", {"id": task.id}).get("state", ""))
        except SpoolmwError:
            return ""

    def progress(self, tasks: Sequence[SpoolTask]) -> Mapping[str, Progress]:
        """How far these are, by id, as far as they said so; empty while the daemon is down."""
        asked = {"ids": [task.id for task in tasks]} if len(tasks) < MOST_NAMED else {}
        try:
            with self.control() as control:
                told = control.request("progress", asked)["progress"]
        except SpoolmwError:
            return {}
        return {one["id"]: Progress(one["fraction"], one["text"], one["at"]) for one in told}

    def cancel(self, task: SpoolTask, *, waiting_only: bool) -> bool:
        return self.cancel_many([task], waiting_only=waiting_only) == [task]

    def cancel_many(self, tasks: Iterable[SpoolTask], *, waiting_only: bool) -> list[SpoolTask]:
        """Cancel these tasks in the spool and return those that now will not end otherwise.

        One that the daemon has not taken yet is simply taken back. With `waiting_only` a task
        that runs already goes on.
        """
        taken_back: list[SpoolTask] = []
        accepted: list[SpoolTask] = []
        for file in _by_file(tasks):
            mine = taken_back if self._take_back(file) else accepted
            mine.extend(file)
        return taken_back + self._cancel_accepted(accepted, waiting_only=waiting_only)

    def _take_back(self, file: Sequence[SpoolTask]) -> bool:
        """Take back the file of these tasks: of an array only when all its elements are meant."""
        first = file[0]
        if first.array is not None and len(file) < first.array.total:
            return False
        if not self.dropper(first.box).take_back(first.dropped):
            return False
        for task in (*file, *((first.array,) if first.array is not None else ())):
            self.waiter.drop(task)
        return True

    def _cancel_accepted(
        self, tasks: Sequence[SpoolTask], *, waiting_only: bool
    ) -> list[SpoolTask]:
        cancelled: list[SpoolTask] = []
        until = time.monotonic() + ACCEPT_S
        while tasks:
            try:
                answers = self._ask_to_cancel(tasks, waiting_only=waiting_only)
            except NotServed as error:
                log.warning("%d tasks cannot be cancelled now. %s", len(tasks), error)
                break
            cancelled += [t for t, a in zip(tasks, answers, strict=True) if _is_cancelled(a)]
            # a task between incoming/ and the journal is known in a moment
            tasks = [
                t for t, a in zip(tasks, answers, strict=True) if isinstance(a, UnknownTask)
            ]
            if not tasks or time.monotonic() > until:
                break
            time.sleep(_RETRY_S)
        return cancelled

    def _ask_to_cancel(self, tasks: Sequence[SpoolTask], *, waiting_only: bool) -> list[Any]:
        with self.control() as control:
            if not waiting_only:
                return control.requests("cancel", [{"ids": [task.id]} for task in tasks])
            records = control.requests("show", [{"id": task.id} for task in tasks])
            wanted = [
                task for task, record in zip(tasks, records, strict=True) if _is_waiting(record)
            ]
            asked = [{"ids": [task.id], "waiting_only": True} for task in wanted]
            told = dict(zip(wanted, control.requests("cancel", asked), strict=True))
        return [told.get(task, record) for task, record in zip(tasks, records, strict=True)]


def _is_waiting(record: Any) -> bool:
    return not isinstance(record, SpoolmwError) and record["state"] in (
        "queued",
        "waiting",
        "held",
    )


def _is_cancelled(answer: Any) -> bool:
    if isinstance(answer, SpoolmwError) or "results" not in answer:
        return False  # or the record of one that runs
    [row] = answer["results"]
    return bool(row["ok"]) or row["state"] == "cancelled"


def _by_file(tasks: Iterable[SpoolTask]) -> list[list[SpoolTask]]:
    """The tasks, those together that were dropped in one file."""
    files: dict[str, list[SpoolTask]] = {}
    for task in tasks:
        files.setdefault(task.dropped, []).append(task)
    return list(files.values())


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _after_fork() -> None:
    for link in list(_links):
        link.waiter.after_fork()


def _at_exit() -> None:
    """Who writes to a stream while the interpreter takes it down aborts the whole program.

    The result of an array that a map made comes a moment after that of its last element; nobody
    but us would remove it.
    """
    until = time.monotonic() + ARRAY_S
    for link in list(_links):
        while link.waiter.is_owed_an_array() and time.monotonic() < until:
            time.sleep(_RETRY_S / 10)
        link.waiter.silence(CALLBACK_S)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
