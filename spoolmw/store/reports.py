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

from spoolmw.format.arrays import element_id, element_position, position_of, split_name
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.task import FINAL, Task
from spoolmw.spooldir.accepted import is_fresh
from spoolmw.spooldir.inputs import digests_of
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.store.reading import open_journal, unreadable
from spoolmw.store.records import task_record, unmade_record
from spoolmw.store.rows import BALLOT, NUMBERS, STATES, elements_between, task_of
from spoolmw.store.specs import spec_of
from spoolmw.store.sql import QUERIES
from spoolmw.store.story import told
from spoolmw.store.trouble import missing
from spoolmw.store.votes import host_of

#: The shortest beginning of an id that names a task.
SHORTEST_PREFIX = 4
_OPEN_BELOW = NUMBERS["done"]
_NO_STATE = 99  #: a number that no state has


class FileRow(NamedTuple):
    """What one task has in the spool."""

    id: TaskId
    state: str
    path: str  #: below `active/`
    inputs: tuple[str, ...]  #: digests below `inputs/`
    is_open: bool


class ResultRow(NamedTuple):
    """A result that a replica returned and that is needed yet."""

    task: TaskId
    state: str
    name: str  #: in `stage/`
    size_bytes: int  #: at least


class Reports:
    """An open view of the journal. A context manager; each answer is of one moment."""

    def __init__(self, conn: sqlite3.Connection, path: Path, after: Any) -> None:
        self._conn = conn
        self._path = path
        self._after = after

    @classmethod
    def open(cls, where: Layout | Path) -> Reports:
        """Open the journal of a spool, or at a path. One that does not exist yet is empty.

        JournalCorrupt for one that a spool has lost: accepted tasks are not none.
        """
        path = where.journal if isinstance(where, Layout) else where
        conn, after = open_journal(path)
        if isinstance(where, Layout) and not path.exists() and _has_tasks(where):
            conn.close()
            raise missing(path)
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

    def tasks(  # noqa: PLR0913  # each of them may be wished for alone
        self,
        *,
        state: str | None = None,
        box: str | None = None,
        name: str | None = None,
        key: str | None = None,
        limit: int | None = None,
        newest: bool = False,
        elements: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Tasks in order of acceptance, or newest first; `state` may also be "open".

        Without `elements` an array is one task, and those of its elements are left out.
        """
        number = None if state in (None, "open") else NUMBERS.get(str(state), _NO_STATE)
        is_open = state == "open" or (number is not None and number < _OPEN_BELOW)
        query = "list_by_key" if key else "list_open" if is_open else "list_every"
        if not elements and query == "list_every":
            query = "list_all"
        more = " AND array IS NULL" if query == "list_open" and not elements else ""
        order = f"{more} ORDER BY seq{' DESC' if newest else ''} LIMIT :limit"
        wanted = {"state": number, "box": box, "name": name, "key": key or None}
        wanted["limit"] = -1 if limit is None else limit
        for row in self._run(QUERIES[query] + order, wanted):
            record = self._record(row)
            if state != "open" or record["state"] not in _FINAL_NAMES:
                yield record

    def elements(
        self,
        array: str,
        *,
        state: str | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The elements of an array that were made, in their order or the last ones first."""
        number = None if state in (None, "open") else NUMBERS.get(str(state), _NO_STATE)
        wanted = {**elements_between(TaskId(array)), "array": array, "state": number}
        wanted["limit"] = -1 if limit is None else limit
        is_open = f" AND state < {_OPEN_BELOW}" if state == "open" else ""
        order = f" ORDER BY position{' DESC' if newest else ''} LIMIT :limit"
        for row in self._run(QUERIES["list_elements"] + is_open + order, wanted):
            yield self._record(row)

    def open_arrays(self) -> list[dict[str, Any]]:
        """The arrays that have not ended, in order of acceptance."""
        return [self._record(row) for row in self._rows("open_arrays")]

    def recent(self, *, box: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The tasks that ended last, the newest first."""
        rows = self._rows("list_recent", {"box": box, "limit": limit})
        return [self._record(row) for row in rows]

    def task(self, task_id: str) -> dict[str, Any] | None:
        """Everything about one task; None when the journal does not know it."""
        for row in self._rows("get_task", (task_id,)):
            return self._record(row)
        return self._unmade(task_id)

    def _unmade(self, task_id: str) -> dict[str, Any] | None:
        """What an element will be whose turn has not come; None: it is none of any array."""
        bounds = {**elements_between(TaskId(task_id)), "rest": task_id[18:]}
        for row in self._rows("array_of", bounds):
            array = task_of(row)
            position = element_position(array.id, task_id)
            if array.tally and position is not None and position < array.tally.total:
                return unmade_record(array, position, updated_at=row[10])
        return None

    def story(self, task_id: str) -> list[dict[str, Any]]:
        """What happened to one task: `at` (wall clock), `event`, `text`, and the event's own keys."""
        found = self.task(task_id)
        ended = found["attempts"] if found else ()
        attempts = {(ran.get("replica", 0), ran["attempt"]): ran for ran in ended}
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
        named = [TaskId(row[0]) for row in self._rows("ids_named", {"text": text})]
        return named + self._elements_named(text)

    def _elements_named(self, text: str) -> list[TaskId]:
        """The elements that ARRAY.INDEX means, also those whose turn has not come."""
        parts = split_name(text)
        found = []
        for row in self._rows("arrays_named", {"text": parts[0]}) if parts else ():
            array = task_of(row)
            if array.spec.array is None or parts is None:
                continue
            position = position_of(array.spec.array, parts[1])
            if position is not None:
                found.append(element_id(array.id, position))
        return found

    def predecessors(self) -> Iterator[tuple[TaskId, list[TaskId]]]:
        """Each task that is to run after others, in order of acceptance, with those that are known."""
        for task_id, after in self._rows("predecessors"):
            yield task_id, [known for known in json.loads(after)[1] if known]

    def hosts(self) -> list[dict[str, Any]]:
        """What is known of each host from what it returned, by name; times are wall clock."""
        return [asdict(host_of(row)) for row in self._rows("hosts")]

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
            yield FileRow(
                task_id,
                STATES[state].value,
                active_name(task_id, box, dropped),
                digests_of(spec_of(spec, dropped, ""))
                if "inputs" in spec or "array" in spec
                else (),
                state < _OPEN_BELOW,
            )

    def reported(self) -> Iterator[ResultRow]:
        """The results of replicas that wait to be compared, or to be accepted by hand."""
        for task_id, number, attempt, size, state in self._rows("reported_results"):
            name = str(AttemptId(task_id, number, attempt))
            yield ResultRow(task_id, STATES[state].value, name, size)

    def integrity(self) -> str:
        """What SQLite finds wrong with the journal; empty when it is whole."""
        problems = [str(row[0]) for row in self._run("PRAGMA integrity_check(10)", ())]
        return "" if problems == ["ok"] else "; ".join(problems)

    def _record(self, row: Any) -> dict[str, Any]:
        return task_record(self._task(row), updated_at=row[10])

    def _task(self, row: Any) -> Task:
        """The task of a row, with its replicas."""
        if row[BALLOT] is None:
            return task_of(row)
        return task_of(row, list(self._rows("replicas_of", (row[0],))))

    def _rows(self, query: str, parameters: Any = ()) -> Iterator[Any]:
        return self._run(QUERIES[query], parameters)

    def _run(
        self, statement: str, parameters: Mapping[str, Any] | tuple[Any, ...]
    ) -> Iterator[Any]:
        try:
            # No `yield from`: it would close the cursor late, of a journal closed by then.
            for row in self._conn.execute(statement, parameters):  # noqa: UP028
                yield row
        except UnicodeEncodeError:
            return  # half a character (an argument that is no UTF-8) stands in no row
        except sqlite3.Error as error:
            raise unreadable(self._path, error) from error


_FINAL_NAMES = frozenset(state.value for state in FINAL)


def _has_tasks(layout: Layout) -> bool:
    """As far as who asks may see it."""
    try:
        return not is_fresh(layout)
    except OSError:
        return False
