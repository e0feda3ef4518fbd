"""Makes the journal's tables, knows their version, and brings an older journal up to it.

Rule: a journal of a newer version is refused, and an older one is copied before it is changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from spoolmw.errors import BadSpool, JournalCorrupt
from spoolmw.store.lean import Database
from spoolmw.store.sql import QUERIES, VERSION


def _add_checkpoints(db: Database) -> None:
    """From 1 to 2: the newest checkpoint of a task, and from which attempt on they count."""
    db.execute("ALTER TABLE tasks ADD COLUMN saved TEXT")
    db.execute("ALTER TABLE tasks ADD COLUMN since INTEGER NOT NULL DEFAULT 0")


def _let_tasks_wait(db: Database) -> None:
    """From 2 to 3: a task may be WAITING for its predecessors; the table is made anew for its check."""
    [made] = db.execute("SELECT sql FROM sqlite_master WHERE name = 'tasks'").fetchone()
    kept = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tasks'"
    indexes = [row[0] for row in db.execute(f"{kept} AND sql IS NOT NULL").fetchall()]
    check = "CHECK (state <> 0 OR twin_of IS NOT NULL"
    first = made.index("CHECK (")
    columns = "waits        INTEGER NOT NULL DEFAULT 0,\n  after        TEXT,\n  "
    fresh = made[:first] + columns + made[first:].replace(check, f"{check} OR waits = 1")
    db.execute(fresh.replace("CREATE TABLE tasks", "CREATE TABLE tasks_anew", 1))
    db.execute("INSERT INTO tasks_anew SELECT *, 0, NULL FROM tasks")
    db.execute("DROP TABLE tasks")
    db.execute("ALTER TABLE tasks_anew RENAME TO tasks")
    for statement in (*indexes, QUERIES["create_successors"]):
        db.execute(statement)


def _arrays(db: Database) -> None:
    """From 3 to 4: tasks may be arrays, or elements of one."""
    for column in ("array TEXT", "position INTEGER", "element TEXT", "tally TEXT"):
        db.execute(f"ALTER TABLE tasks ADD COLUMN {column}")
    db.execute("INSERT INTO states VALUES (-1, 'expanding')")
    for name in ("tasks_of_files", "arrays", "unsuccessful_elements"):
        db.execute(QUERIES[f"create_{name}"])
    db.execute("PRAGMA writable_schema = ON")
    db.execute(QUERIES["migrate_check_of_states"])
    db.execute("PRAGMA writable_schema = RESET")


def _votes(db: Database) -> None:
    """From 4 to 5: tasks may want several replicas to agree; hosts have records."""
    db.execute("ALTER TABLE tasks ADD COLUMN ballot TEXT")
    db.execute("INSERT INTO states VALUES (-2, 'validating')")
    for name in ("replicas", "hosts"):
        db.execute(QUERIES[f"create_{name}"])
    db.execute("PRAGMA writable_schema = ON")
    db.execute(QUERIES["migrate_checks_of_votes"])
    db.execute("PRAGMA writable_schema = RESET")


#: "spmw": tells our database from any other.
APPLICATION_ID = 0x73706D77
#: What brings a journal from this version to the next one.
MIGRATIONS: Mapping[int, Callable[[Database], None]] = {
    1: _add_checkpoints,
    2: _let_tasks_wait,
    3: _arrays,
    4: _votes,
}


def create(db: Database) -> None:
    """Make all tables in an empty database, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for name, statement in QUERIES.items():
            if name.startswith("create_"):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def version(db: Database) -> int:
    """The tables' version; 0 for an empty database. JournalCorrupt when it is none of ours."""
    number = int(db.execute("PRAGMA user_version").fetchone()[0])
    if number == 0 and not db.table_names():
        return 0
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JournalCorrupt(
            "the journal is a database of another program",
            why="its application id is not spoolmw's",
            fix="move it away and restore the journal: spoolmwd --rebuild",
        )
    return number


def bring_up_to_date(
    db: Database,
    path: Path,
    *,
    target: int = VERSION,
    migrations: Mapping[int, Callable[[Database], None]] = MIGRATIONS,
) -> None:
    """Create or migrate the tables so that they are of version `target`.

    Raises BadSpool for a newer one. Each migration runs in a transaction of its own, after a
    copy of the journal was made beside it (`spoolmw.db.vN`).
    """
    found = version(db)
    if found == 0:
        create(db)
        return
    if found > target:
        raise BadSpool(
            f"the journal {path} is of version {found}",
            why=f"this spoolmw knows versions up to {target}; it was written by a newer one",
            fix="install that version again, or go back to the copy beside the journal",
        )
    for step in range(found, target):
        _back_up(db, path.with_name(f"{path.name}.v{step}"))
        db.execute("BEGIN IMMEDIATE")
        try:
            migrations[step](db)
            db.execute(f"PRAGMA user_version = {step + 1}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def _back_up(db: Database, target: Path) -> None:
    target.unlink(missing_ok=True)
    copy = sqlite3.connect(target)
    try:
        db.conn.backup(copy)
    finally:
        copy.close()
