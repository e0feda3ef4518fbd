"""A journal of an earlier version becomes one of this version, with all that is in it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.model.task import TaskState
from spoolmw.store import schema
from spoolmw.store.journal import Changed, Journal
from tests.unit.store.builders import BOOT, a_full_ballot, a_task, an_id

VERSION_1 = Path(__file__).with_name("version1.sql")
ROW = (
    "INSERT INTO tasks (seq, id, box, dropped, result_name, name, key, spec, body_sha256,"
    " submitted_at, updated_at, priority, state, attempt, failures, losses, not_before,"
    " memory_bytes, lease, ending, history, twin_of)"
    " VALUES (?, ?, '', 'd', 'r', 'n', '', '{}', '', 1, 1, 0, ?, 0, 0, 0, 0, 0, NULL, NULL, NULL, ?)"
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of version 1 with a queued task and one that waits for it."""
    path = tmp_path / "spoolmw.db"
    raw = sqlite3.connect(path)
    raw.executescript(VERSION_1.read_text("utf-8"))
    raw.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    raw.execute("PRAGMA user_version = 1")
    raw.execute(ROW, (1, an_id(1), 1, None))
    raw.execute(ROW, (2, an_id(2), 0, an_id(1)))
    raw.commit()
    raw.close()
    return path


def shape(path: Path) -> list[tuple[str, str]]:
    """Columns and indexes, without how they were written."""
    conn = sqlite3.connect(path)
    names = [row[0] for row in conn.execute("SELECT name FROM sqlite_master ORDER BY name")]
    columns = conn.execute(
        "SELECT name FROM pragma_table_info('tasks') ORDER BY name"
    ).fetchall()
    conn.close()
    return [("is there", name) for name in names] + [("column", row[0]) for row in columns]


def checks(path: Path) -> set[str]:
    """What each row of the tasks must fulfil."""
    conn = sqlite3.connect(path)
    [text] = conn.execute("SELECT sql FROM sqlite_master WHERE name = 'tasks'").fetchone()
    conn.close()
    return {line.strip(" ,)") for line in text.splitlines() if "CHECK" in line}


def test_nothing_is_lost_and_the_schema_is_that_of_a_new_one(old: Path, tmp_path: Path) -> None:
    journal = Journal.open(old)
    assert [(t.id, t.state, t.twin_of) for t in journal.load()] == [
        (an_id(1), TaskState.QUEUED, None),
        (an_id(2), TaskState.WAITING, an_id(1)),
    ]
    journal.close()
    Journal.open(tmp_path / "new.db").close()
    assert shape(old) == shape(tmp_path / "new.db")
    assert checks(old) == checks(tmp_path / "new.db")
    assert [old.with_name(f"spoolmw.db.v{n}").exists() for n in (1, 2)] == [True, True]


def test_a_migrated_journal_takes_votes_and_holds_tasks_to_them(old: Path) -> None:
    journal = Journal.open(old)
    task = a_task(3, state=TaskState.VALIDATING)
    task = replace(task, ballot=a_full_ballot(task))
    journal.commit([Changed(None, task, ())], **BOOT)
    assert journal.get(task.id) == task
    for state in (TaskState.RUNNING, TaskState.VALIDATING):
        with pytest.raises(Exception, match="CHECK"):
            journal.commit([Changed(None, a_task(4, state=state), ())], **BOOT)
    journal.close()


def test_a_migrated_journal_takes_tasks_that_wait_for_predecessors(old: Path) -> None:
    journal = Journal.open(old)
    task = a_task(3, state=TaskState.WAITING, waits=True)
    journal.commit([Changed(None, task, ())], **BOOT)
    assert journal.get(task.id) == task
    nobody = a_task(4, state=TaskState.WAITING)
    with pytest.raises(Exception, match="CHECK"):
        journal.commit([Changed(None, nobody, ())], **BOOT)
    journal.close()
