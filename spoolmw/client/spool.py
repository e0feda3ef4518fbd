"""The helper's front door: a spool, as a Python program sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, cast

from spoolmw.client.future import Ended, SpoolTask
from spoolmw.client.link import Link
from spoolmw.client.options import from_environment
from spoolmw.client.place import find_spool
from spoolmw.client.submitter import Submitter
from spoolmw.client.taskmap import TaskMap
from spoolmw.errors import ResultGone, UnknownTask
from spoolmw.format.keyed import nearest
from spoolmw.model.ids import TaskId
from spoolmw.model.task import TaskState

#: Seconds in which a task that was just submitted must become known to the daemon.
_ACCEPT_S = 1.0
_BAD = frozenset({"failed", "cancelled"})
_FINAL = _BAD | {"done"}
_STATES = (*(state.value for state in TaskState), "open")


class Spool(Submitter):
    """A spool directory. Submitting works while the daemon is down; finding asks the daemon.

    Without `path` it is `$SPOOLMW_SPOOL`, /var/spool/spoolmw where it exists, or ./spool.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, box: str = "") -> None:
        link = Link(find_spool(path))
        options = from_environment()
        super().__init__(link, options.with_wishes({"box": box}) if box else options)
        self.root: Path = link.layout.root

    def __repr__(self) -> str:
        return f"Spool({str(self.root)!r})"

    def as_completed(
        self, tasks: Iterable[SpoolTask] | TaskMap, timeout: float | None = None
    ) -> Iterator[SpoolTask]:
        """The tasks as they end, first come first."""
        several = tasks.tasks if isinstance(tasks, TaskMap) else list(tasks)
        self._link.ensure()
        return cast(Iterator[SpoolTask], futures.as_completed(several, timeout))

    def attach(
        self, *, key: str = "", id: str = "", name: str = "", keep: bool = True
    ) -> SpoolTask:
        """The future of a task that was submitted before, also by another program.

        Several tasks may have a key or name: the newest is meant, or the newest that did not
        fail. Its result file stays.
        """
        if sum(map(bool, (key, id, name))) != 1:
            raise TypeError("attach() takes one of key, id and name")
        record = self._record(key, id, name)
        return self._attached(record, keep=keep)

    def find(
        self,
        *,
        box: str | None = None,
        state: str | None = None,
        name: str | None = None,
        key: str | None = None,
        limit: int = 1000,
        keep: bool = True,
    ) -> list[SpoolTask]:
        """The tasks that the daemon knows and that are so, as futures; `record` tells of each.

        A `state` is one of `spoolmw-ctl ls`, or "open"; ValueError names them.
        """
        if state is not None and state not in _STATES:
            near = nearest(state, _STATES)
            hint = f'did you mean "{near}"? ' if near else ""
            raise ValueError(
                f"there is no state {state!r}; {hint}there are {', '.join(_STATES)}"
            )
        wanted = {"box": box, "state": state, "name": name, "key": key, "limit": limit}
        return [self._attached(record, keep=keep) for record in self._find(wanted)]

    def stats(self) -> list[dict[str, Any]]:
        """Ended attempts, times and losses for each agent and host."""
        with self._link.control() as control:
            return list(control.request("stats", {}))

    def _find(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        given = {word: value for word, value in wanted.items() if value is not None}
        with self._link.control() as control:
            answer = control.request("find", given)
        return list(answer["tasks"])

    def _record(self, key: str, task_id: str, name: str) -> dict[str, Any]:
        """What the daemon knows of the task; one that was just dropped gets a moment."""
        until = time.monotonic() + _ACCEPT_S
        while True:
            rows = self._ask(key, task_id, name)
            if rows:
                return max(rows, key=lambda row: (row["state"] not in _BAD, row["seq"]))
            if time.monotonic() > until:
                what = (
                    f"key {key!r}" if key else f"id {task_id}" if task_id else f"name {name!r}"
                )
                raise UnknownTask(
                    f"The daemon of {self.root} knows no task with the {what}.",
                    fix="spoolmw-ctl ls shows what there is",
                )
            time.sleep(_ACCEPT_S / 20)

    def _ask(self, key: str, task_id: str, name: str) -> list[dict[str, Any]]:
        if not task_id:
            return self._find({"key": key or None, "name": name or None})
        try:
            with self._link.control() as control:
                return [control.request("show", {"id": task_id})]
        except UnknownTask:
            return []

    def _attached(self, record: dict[str, Any], *, keep: bool) -> SpoolTask:
        path = self._link.layout.root / record["result"]
        task_id, name, dropped = TaskId(record["id"]), record["name"], record["dropped"]
        task = SpoolTask(self._link, task_id, name, dropped, str(path), keep=keep)
        task.box, task.record, task.is_attached = record["box"], record, True
        if record.get("state") in _FINAL and not path.exists():
            task.end(_ended_without(task, record))
        else:
            self._link.waiter.add(task)
        return task


def _ended_without(task: SpoolTask, record: dict[str, Any]) -> Ended:
    if record["state"] == "cancelled":
        return Ended(cancelled=True)
    return Ended(
        error=ResultGone(
            f"The result of {task.name} ({task.id}) is gone.",
            why=f"it was delivered as {record['state']} to {task.path}, and somebody took it",
            fix="look where it went, or submit the task again",
        )
    )
