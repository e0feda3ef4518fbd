"""What the journal knows of the elements of arrays, asked by the daemon's thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.store.rows import STATES, elements_between, tasks_of
from spoolmw.store.sql import QUERIES
from spoolmw.store.trouble import translated


class Elements:
    """The elements in one open journal."""

    def __init__(self, path: Path, conn: sqlite3.Connection) -> None:
        self._path = path
        self._conn = conn

    def owners(self, ids: Sequence[TaskId]) -> dict[TaskId, TaskId | None]:
        """Those of `ids` that some task has, and the array whose element it is; None: of none."""
        with translated(self._path):
            rows = self._conn.execute(QUERIES["owners_of_ids"], (json.dumps(ids),)).fetchall()
        return dict(rows)

    def counts(self, array: TaskId) -> dict[TaskState, int]:
        """How many elements of an array have a row, by their states."""
        bounds = {**elements_between(array), "array": array}
        with translated(self._path):
            rows = self._conn.execute(QUERIES["element_counts"], bounds).fetchall()
        return {STATES[state]: number for state, number in rows}

    def to_retry(
        self, array: TaskId, position: int, *, cancelled: bool, limit: int
    ) -> list[Task]:
        """Failed (and cancelled) elements of an array from a position on, in order."""
        wanted = {"array": array, "position": position, "all": cancelled, "most": limit}
        with translated(self._path):
            return tasks_of(
                self._conn, self._conn.execute(QUERIES["elements_to_retry"], wanted)
            )
