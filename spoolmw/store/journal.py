"""The journal: the state of every task and the events that led to it, committed together.

Rule 1: one connection writes, in the thread that opened it.
Rule 2: a commit is durable when it returns (WAL, synchronous=FULL), or nothing of it happened.
Rule 3: after a failed sync nothing that the page cache says is believed: JournalLost, and the
next start reads what is on disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spoolmw.errors import DiskFull, JournalCorrupt, JournalLost, SpoolmwError
from spoolmw.model.host import HostRecord
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.store import schema
from spoolmw.store.commits import Changed, statements_of
from spoolmw.store.elements import Elements
from spoolmw.store.lean import Database
from spoolmw.store.newboot import SHIFTS, on_new_clock
from spoolmw.store.newboot import boot_id as this_boot
from spoolmw.store.rows import tasks_of
from spoolmw.store.sql import QUERIES
from spoolmw.store.trouble import missing, translated
from spoolmw.store.votes import host_of, host_row, put_vote
from spoolmw.store.wal import make_room

__all__ = ["Changed", "DiskFull", "Journal", "JournalCorrupt", "JournalLost"]

#: Pages of the WAL after which SQLite moves them into the database (4 KiB each).
CHECKPOINT_PAGES = 4000
_PUT_META, _PUT_HOST = QUERIES["put_meta"], QUERIES["put_host"]


class Journal:
    """The open journal. Everything may raise DiskFull, JournalLost or JournalCorrupt."""

    def __init__(self, path: Path, db: Database) -> None:
        self.path = path
        #: The number for the next task; whoever accepts tasks counts on from here.
        self.next_seq = 1
        self.elements = Elements(path, db.conn)
        self._db = db
        self._conn = db.conn
        self._commits = 0
        self._boot_id = ""
        self._boot_clock = 0.0
        #: Another boot's clock reads otherwise: the next commit moves the backoffs to it.
        self._shift: dict[str, float] | None = None
        self._files = (str(path), f"{path}-wal")
        self._identity: tuple[tuple[int, int], ...] = ()
        self._names_indexed = False

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Journal:
        """Open the journal at `path`, made when it is missing and `create`; checks it as a whole."""
        if not create and not path.exists():
            raise missing(path)
        conn = _connect(path)
        journal = cls(path, Database(conn))
        try:
            with translated(path):
                journal._start()
        except BaseException:
            conn.close()
            raise
        return journal

    def _start(self) -> None:
        conn = self._conn
        _check_whole(conn, self.path)
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        conn.execute("PRAGMA cache_size=-8000")
        mode = conn.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise JournalCorrupt(
                f"the journal {self.path} cannot be in WAL mode", why=f"it is in {mode}"
            )
        schema.bring_up_to_date(self._db, self.path)
        meta = self._meta()
        self._commits = int(meta.get("commits", "0"))
        self._boot_id = meta.get("boot_id", "")
        self._boot_clock = float(meta.get("boot_clock", "0"))
        self.next_seq = conn.execute(QUERIES["highest_seq"]).fetchone()[0] + 1
        self._identity = self._identify()
        make_room(Path(self._files[1]), CHECKPOINT_PAGES)

    def load(self, *, now_boot: float | None = None, boot_id: str | None = None) -> list[Task]:
        """Every task that is not final, in order of acceptance.

        In another boot than the last commit's the backoffs continue on the new clock. Clock
        and boot are the machine's unless given.
        """
        boot = this_boot() if boot_id is None else boot_id
        tasks = self._tasks("load_open", ())
        if not boot or not self._boot_id or boot == self._boot_id:
            return tasks
        clock = time.clock_gettime(time.CLOCK_BOOTTIME) if now_boot is None else now_boot
        self._shift = {"then": self._boot_clock, "now": clock}
        return [on_new_clock(task, self._boot_clock, clock) for task in tasks]

    def get(self, task_id: TaskId) -> Task | None:
        """One task, whatever its state."""
        with translated(self.path):
            row = self._conn.execute(QUERIES["get_task"], (task_id,)).fetchone()
        return None if row is None else tasks_of(self._conn, [row])[0]

    def known(self, ids: Sequence[TaskId]) -> set[TaskId]:
        """Those of `ids` that some task has, open or ended."""
        if not ids:
            return set()
        with translated(self.path):
            rows = self._conn.execute(QUERIES["known_ids"], (json.dumps(ids),)).fetchall()
        return {row[0] for row in rows}

    def by_key(self, key: str) -> Task | None:
        """The task that `key` means: the first that was not failed or cancelled, else the last one."""
        found = self._tasks("good_by_key", (key,)) or self._tasks("last_by_key", (key,))
        return found[0] if found else None

    def newest_named(self, name: str, box: str) -> TaskId | None:
        """The task of this name in this box that was accepted last. The first question indexes names."""
        if not self._names_indexed:
            self._write("index_names", [()])
            self._names_indexed = True
        with translated(self.path):
            row = self._conn.execute(QUERIES["newest_named"], (name, box)).fetchone()
        return None if row is None else row[0]

    def failed_successors(self) -> list[Task]:
        """The failed tasks that were to run after others."""
        return self._tasks("failed_successors", ())

    def hosts(self) -> list[HostRecord]:
        """What is known of each host, by name."""
        with translated(self.path):
            return [host_of(row) for row in self._conn.execute(QUERIES["hosts"])]

    def commit(
        self,
        changes: Sequence[Changed],
        *,
        now_boot: float,
        boot_id: str,
        wall: float | None = None,
        hosts: Sequence[HostRecord] = (),
    ) -> None:
        """Record all `changes`, one for each task, durable when this returns; or none of them.

        The records of `hosts` that what was decided changed are part of it.
        """
        now = time.time() if wall is None else wall
        number = self._commits + 1
        statements = statements_of(changes, now, number)
        votes = [(old, new) for old, new, _ in changes if new.ballot is not None]
        if hosts:
            statements.append((_PUT_HOST, list(map(host_row, hosts))))
        with self._transaction() as conn:
            if self._shift is not None:
                for name in SHIFTS:
                    conn.execute(QUERIES[name], self._shift)
            for statement, rows in statements:
                if rows:
                    conn.executemany(statement, rows)
            for old, new in votes:
                put_vote(conn, old, new)
            self._put_clock(number, now_boot, boot_id)
        self._commits, self._shift = number, None
        self._boot_id, self._boot_clock = boot_id, now_boot

    def ended_before(self, before: float, *, limit: int, with_results: bool) -> list[Task]:
        """Up to `limit` tasks that ended before the wall clock's `before`.

        `with_results`: only those whose results retention has not seen to yet.
        """
        name = "ended_with_results" if with_results else "ended_before"
        return self._tasks(name, {"before": before, "most": limit})

    def note_result_pruned(self, *task_ids: TaskId) -> None:
        """Retention has seen to the results of these."""
        self._write("note_result_pruned", [(task_id,) for task_id in task_ids])

    def forget(self, task_ids: Iterable[TaskId]) -> None:
        """Remove ended tasks with their stories; open ones stay."""
        ids = [(task_id,) for task_id in task_ids]
        self._write("forget_story", ids, "forget_replicas", "forget_task")

    def retryable(self) -> list[Task]:
        """The failed and cancelled tasks that would need their input files to run once more."""
        return self._tasks("retryable", ())

    def ended_counts(self) -> dict[str, int]:
        """How many tasks ended in each final state."""
        with translated(self.path):
            return dict(self._conn.execute(QUERIES["ended_counts"]).fetchall())

    def get_meta(self, key: str) -> str | None:
        """What was kept under `key`."""
        with translated(self.path):
            return self._meta().get(f"x.{key}")

    def set_meta(self, key: str, value: str) -> None:
        """Keep `value` under `key`, durable when this returns."""
        self._write("put_meta", [(f"x.{key}", value)])

    def _meta(self) -> dict[str, str]:
        return dict(self._conn.execute(QUERIES["get_meta"]).fetchall())

    def _write(self, query: str, rows: Sequence[Sequence[str]], *more: str) -> None:
        with self._transaction() as conn:
            for name in (query, *more):
                conn.executemany(QUERIES[name], rows)

    def _tasks(self, query: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Task]:
        with translated(self.path):
            return tasks_of(self._conn, self._conn.execute(QUERIES[query], parameters))

    def close(self) -> None:
        """Move what is in the WAL into the database and let it go."""
        try:
            with translated(self.path):
                self._check_files()
                self._conn.execute("PRAGMA busy_timeout=1000")  # for who is reading
                self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except SpoolmwError:
            pass  # what was committed is in the WAL; the next start reads it
        finally:
            self._conn.close()

    def abandon(self) -> None:
        """Let it go without writing anything: after JournalLost."""
        self._conn.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._check_files()
        conn = self._conn
        with translated(self.path):
            try:
                conn.execute("BEGIN IMMEDIATE")
                yield conn
                conn.execute("COMMIT")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise

    def _put_clock(self, commits: int, now_boot: float, boot_id: str) -> None:
        self._conn.executemany(
            _PUT_META,
            [("commits", str(commits)), ("boot_clock", repr(now_boot)), ("boot_id", boot_id)],
        )

    def _identify(self) -> tuple[tuple[int, int], ...]:
        return tuple((found.st_dev, found.st_ino) for found in map(os.stat, self._files))

    def _check_files(self) -> None:
        """The files that we write are still the ones that the next start will find."""
        try:
            if self._identify() == self._identity:
                return
            why = "another file stands in its place"
        except OSError as error:
            why = f"{error.strerror}: {error.filename}"
        raise JournalLost(
            f"the journal {self.path} was moved or removed under the running daemon",
            why=why,
            fix="put it back and start again, or restore it: spoolmwd --rebuild",
        )


def _connect(path: Path) -> sqlite3.Connection:
    try:
        conn = sqlite3.connect(path, isolation_level=None, timeout=10.0, cached_statements=64)
    except sqlite3.Error as error:
        raise JournalCorrupt(
            f"the journal {path} cannot be opened",
            why=str(error),
            fix="see that its folder belongs to the daemon's user and has room",
        ) from error
    return conn


def _check_whole(conn: sqlite3.Connection, path: Path) -> None:
    """Every page and index is as it should be; JournalCorrupt says what is not."""
    problems = [str(row[0]) for row in conn.execute("PRAGMA quick_check(5)")]
    if problems != ["ok"]:
        raise JournalCorrupt(
            f"the journal {path} is damaged",
            why="; ".join(problems).replace("\n", " "),
            fix="restore it from the spool: spoolmwd --rebuild",
        )
