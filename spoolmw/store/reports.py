"""What the journal tells to people and programs, with stable keys; read-only, also without a daemon.

Uses the standard library's sqlite3: sqlite-utils would cost every `spoolmw-ctl` 0.13 s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Ran, Task
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.store.reading import open_journal, unreadable
from spoolmw.store.rows import NUMBERS, STATES, task_of
from spoolmw.store.specs import spec_of
from spoolmw.store.sql import QUERIES
from spoolmw.store.story import told

#: The shortest beginning of an id that names a task.
SHORTEST_PREFIX = 4
_OPEN_BELOW = NUMBERS["done"]


class FileRow(NamedTuple):
    """What one task has in the spool."""

    id: TaskId
    state: str
    path: str  #: below `active/`
    inputs: tuple[str, ...]  #: digests below `inputs/`
    is_open: bool


class Reports:
    """An open view of the journal. A context manager; each answer is of one moment."""

    def __init__(self, conn: sqlite3.Connection, path: Path, after: Any) -> None:
        self._conn = conn
        self._path = path
        self._after = after

    @classmethod
    def open(cls, where: Layout | Path) -> Reports:
        """Open the journal of a spool, or at a path. One that does not exist yet is empty."""
        path = where.journal if isinstance(where, Layout) else where
        conn, after = open_journal(path)
        return cls(conn, path, after)

    def __enter__(self) -> Reports:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let it go; a private copy is removed."""
        self._conn.close()
        self._after()

    def counts(self) -> dict[str, int]:
        """How many tasks stand in each state, every state named."""
        found = {state.value: 0 for state in STATES}
        return found | dict(self._rows("open_counts")) | dict(self._rows("ended_counts"))

    def tasks(
        self,
        *,
        state: str | None = None,
        box: str | None = None,
        name: str | None = None,
        key: str | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Tasks in order of acceptance, or newest first; `state` may also be "open"."""
        number = None if state in (None, "open") else NUMBERS.get(str(state), -1)
        is_open = state == "open" or (number is not None and 0 <= number < _OPEN_BELOW)
        query = "list_by_key" if key else "list_open" if is_open else "list_all"
        order = " ORDER BY seq DESC LIMIT :limit" if newest else " ORDER BY seq LIMIT :limit"
        wanted = {"state": number, "box": box, "name": name, "key": key or None}
        wanted["limit"] = -1 if limit is None else limit
        for row in self._run(QUERIES[query] + order, wanted):
            record = task_record(task_of(row), updated_at=row[10])
            if state != "open" or record["state"] not in _FINAL_NAMES:
                yield record

    def recent(self, *, box: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The tasks that ended last, the newest first."""
        rows = self._rows("list_recent", {"box": box, "limit": limit})
        return [task_record(task_of(row), updated_at=row[10]) for row in rows]

    def task(self, task_id: str) -> dict[str, Any] | None:
        """Everything about one task; None when the journal does not know it."""
        for row in self._rows("get_task", (task_id,)):
            return task_record(task_of(row), updated_at=row[10])
        return None

    def story(self, task_id: str) -> list[dict[str, Any]]:
        """What happened to one task: `at` (wall clock), `event`, `text`, and the event's own keys."""
        found = self.task(task_id)
        attempts = {ran["attempt"]: ran for ran in found["attempts"]} if found else {}
        story = []
        for wall, state, facts in self._rows("story_of", (task_id,)):
            for fact in json.loads(facts):
                story.append(told(fact, wall, STATES[state].value, attempts))
        return story

    def resolve(self, text: str) -> list[TaskId]:
        """The tasks that `text` means: an id or its beginning, else a key, else a name."""
        if len(text) >= SHORTEST_PREFIX and not set(text) - set("0123456789abcdef"):
            bounds = {"low": text, "high": text + "g"}
            if ids := [TaskId(row[0]) for row in self._rows("ids_between", bounds)]:
                return ids
        keyed = [task_of(row) for row in self._rows("tasks_by_key", (text,))]
        if keyed:
            good = (task for task in keyed if task.state.value not in ("failed", "cancelled"))
            return [next(good, keyed[-1]).id]
        return [TaskId(row[0]) for row in self._rows("ids_named", {"text": text})]

    def stats(self) -> list[dict[str, Any]]:
        """Ended attempts, times and losses for each agent and host."""
        columns = (
            "agent", "host", "attempts", "succeeded", "failed", "lost", "stopped",
            "wall_s", "cpu_s", "memory_bytes",
        )  # fmt: skip
        return [dict(zip(columns, row, strict=True)) for row in self._rows("attempts_by_host")]

    def files(self) -> Iterator[FileRow]:
        """What every task has, or had, in `active/` and `inputs/`."""
        for task_id, box, dropped, state, spec in self._rows("all_files"):
            inputs = spec_of(spec, dropped, "").files.inputs if '"inputs"' in spec else ()
            yield FileRow(
                task_id,
                STATES[state].value,
                active_name(task_id, box, dropped),
                tuple(item.digest for item in inputs),
                state < _OPEN_BELOW,
            )

    def integrity(self) -> str:
        """What SQLite finds wrong with the journal; empty when it is whole."""
        problems = [str(row[0]) for row in self._run("PRAGMA integrity_check(10)", ())]
        return "" if problems == ["ok"] else "; ".join(problems)

    def _rows(self, query: str, parameters: Any = ()) -> Iterator[Any]:
        return self._run(QUERIES[query], parameters)

    def _run(
        self, statement: str, parameters: Mapping[str, Any] | tuple[Any, ...]
    ) -> Iterator[Any]:
        try:
            # No `yield from`: it would close the cursor late, of a journal closed by then.
            for row in self._conn.execute(statement, parameters):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise unreadable(self._path, error) from error


_FINAL_NAMES = frozenset(state.value for state in FINAL)


def task_record(task: Task, *, updated_at: float) -> dict[str, Any]:
    """A task as `show --json` prints it. Times are wall clock, in seconds since 1970."""
    last = task.history[-1] if task.history else None
    lease, ending = task.lease, task.ending
    here = lease or last
    return {
        "id": task.id,
        "name": task.spec.name,
        "key": task.spec.key,
        "box": task.box,
        "state": task.state.value,
        "priority": task.priority,
        "seq": task.seq,
        "dropped": task.dropped,
        "result": _result(task),
        "submitted_at": task.submitted_at,
        "updated_at": updated_at,
        "started_at": (lease.started_at or lease.assigned_at) if lease else _started(last),
        "ended_at": None if lease else _ended(task, last, updated_at),
        "agent": here.agent if here else "",
        "host": here.host if here else "",
        "slot": here.slot if here else "",
        "attempt": task.attempt,
        "failures": task.failures,
        "losses": task.losses,
        "message": ending.message if ending else last.message if last else "",
        "cause": ending.cause.value if ending else last.cause.value if last else "",
        "blame": ending.blame.value if ending else last.blame.value if last else "",
        "exit_code": last.exit_code if last else None,
        "digest": ending.digest if ending else "",
        "twin_of": task.twin_of,
        "saved": asdict(task.saved) if task.saved else None,
        "since": task.since,
        "attempts": [attempt_record(ran) for ran in task.history],
        "spec": spec_record(task),
    }


def _result(task: Task) -> str:
    folder = f"results/{task.box}" if task.box else "results"
    return f"{folder}/{task.result_name}.result"


def _started(last: Ran | None) -> float | None:
    return (last.started_at or None) if last else None


def _ended(task: Task, last: Ran | None, updated_at: float) -> float | None:
    if last is not None and last.ended_at:
        return last.ended_at
    return updated_at if task.state in FINAL else None


def attempt_record(ran: Ran) -> dict[str, Any]:
    """One ended attempt."""
    record = asdict(ran)
    for field in ("outcome", "cause", "blame"):
        record[field] = record[field].value
    return record


def spec_record(task: Task) -> dict[str, Any]:
    """What was asked for, all sections, with the defaults filled in."""
    record = asdict(task.spec)
    record["run"]["env"] = dict(task.spec.run.env)
    record["resources"]["memory_bytes"] = task.memory_bytes or task.spec.resources.memory_bytes
    return record
