"""Every statement has a name and a sentence, and SQLite understands all of them."""

from __future__ import annotations

import sqlite3

import pytest

from spoolmw.store.rows import NUMBERS
from spoolmw.store.sql import QUERIES, statements


@pytest.fixture
def tables() -> sqlite3.Connection:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    for name, statement in QUERIES.items():
        if name.startswith("create_"):
            conn.execute(statement)
    return conn


MADE_ONCE = ("create_", "migrate_")


@pytest.mark.parametrize("name", [name for name in QUERIES if not name.startswith(MADE_ONCE)])
def test_sqlite_understands(name: str, tables: sqlite3.Connection) -> None:
    statement = QUERIES[name]
    named = dict.fromkeys(
        ("low", "high", "before", "most", "text", "state", "box", "name", "key", "limit",
         "then", "now", "array", "position", "all", "rest"), 0,
    )  # fmt: skip
    values = [0] * statement.count("?")
    tables.execute(f"EXPLAIN {statement}", values or named)


def test_the_numbers_of_the_states_are_those_of_the_table(tables: sqlite3.Connection) -> None:
    rows = dict(tables.execute("SELECT name, state FROM states").fetchall())
    assert rows == NUMBERS


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("load_open", "open_tasks"),
        ("get_task", "tasks_by_id"),
        ("tasks_by_key", "tasks_by_key"),
        ("good_by_key", "tasks_by_key"),
        ("last_by_key", "tasks_by_key"),
        ("ended_before", "ended_tasks"),
        ("ended_with_results", "ended_tasks"),
        ("ended_counts", "ended_tasks"),
        ("open_counts", "open_tasks"),
        ("retryable", "retryable_tasks"),
        ("list_recent", "ended_tasks"),
        ("ids_between", "tasks_by_id"),
        ("list_open", "open_tasks"),
        ("elements_to_retry", "unsuccessful_elements"),
        ("element_counts", "tasks_by_id"),
        ("list_elements", "tasks_by_id"),
        ("array_of", "tasks_by_id"),
        ("list_all", "tasks_of_files"),
        ("ids_named", "tasks_of_files"),
        ("arrays_named", "arrays"),
        ("open_arrays", "arrays"),
    ],
)
def test_a_million_ended_tasks_do_not_slow_it_down(
    name: str, index: str, tables: sqlite3.Connection
) -> None:
    statement = QUERIES[name]
    named = dict.fromkeys(
        ("low", "high", "before", "most", "state", "box", "name", "key", "limit",
         "array", "position", "all", "rest", "text"), 0,
    )  # fmt: skip
    values = [0] * statement.count("?")
    plan = [
        row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {statement}", values or named)
    ]
    scans = [line for line in plan if "tasks" in line and not line.startswith("SCAN states")]
    assert scans, plan
    assert all(index in line or line == "SCAN tasks USING INDEX arrays" for line in scans), plan


def test_two_statements_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="called a"):
        statements("-- a: One.\nSELECT 1;\n\n-- a: Two.\nSELECT 2;\n")
