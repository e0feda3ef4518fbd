"""What the front end keeps of its own, in `front.db`: its hosts, and what they were sent.

It is all in memory too; the database is read once, at the start. What is kept and why it is no part
of the journal: docs/adr/0030.

Rule 1: nothing is said to a client, nor to the daemon, before what it rests on is committed:
`await records.settled()`.
Rule 2: one commit serves all who wait. While one runs, what comes is gathered for the next.
Rule 3: what cannot be written now (the disk is full) stays in the queue, in order, and is tried again.
Rule 4: what can wait is written as it is then, not as it was: what was put later is never undone by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from spoolmw.agents.boinclink.rows import FAILED, REPORTED, SENT, Host, Row

NAME = "front.db"
_VERSION = 1  #: of the schema
_AGAIN_S = 2.0  #: before what failed is tried again
_LAZY_S = 30.0  #: what may be lost is written so late

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hosts (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, cpid TEXT NOT NULL, seqno INTEGER NOT NULL,
    created REAL NOT NULL, seen REAL NOT NULL, told TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results (
    attempt TEXT PRIMARY KEY, host INTEGER NOT NULL, state INTEGER NOT NULL,
    sent REAL NOT NULL, deadline REAL NOT NULL, most_bytes INTEGER NOT NULL,
    is_unwanted INTEGER NOT NULL, token TEXT NOT NULL, report TEXT NOT NULL,
    job TEXT NOT NULL, orders BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE
) STRICT;
"""
_PUT_HOST = """
INSERT INTO hosts (id, account, cpid, seqno, created, seen, told) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET account = excluded.account, cpid = excluded.cpid,
    seqno = excluded.seqno, seen = excluded.seen, told = excluded.told
"""
_SEND = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHANGE = (
    "UPDATE results SET state = ?, is_unwanted = ?, deadline = ?, report = ? WHERE attempt = ?"
)
_DROP = "DELETE FROM results WHERE attempt = ?"
#: What of a host has no column of its own.
_MORE = (
    *("name", "platform", "client_platform", "os", "cores", "memory_bytes", "disk_bytes"),
    *(
        "flops",
        "quota",
        "failures",
        "rests_until",
        "needs_bundle",
        "lacks",
        "learned",
        "done",
        "failed",
    ),
)

_Statement = tuple[str, tuple[Any, ...]]
_Latest = Callable[[], _Statement]
"""What is to be written, asked for when it is."""


class RecordsTrouble(Exception):
    """What must be written first cannot be; the text says why."""


class Records:
    """The database. All methods belong to the loop's thread, unless they say otherwise."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it; what is damaged is set aside. Raises RecordsTrouble."""
        self.is_anew = False  #: there was one, and it was damaged
        self._path = folder / NAME
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise RecordsTrouble(f"{self._path}: {error}") from error
            self._set_aside()
            try:
                self._open()
            except sqlite3.Error as worse:
                raise RecordsTrouble(f"{self._path}: {worse}") from worse
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._thread = ThreadPoolExecutor(1, "commits")
        self._queue: list[_Statement] = []
        self._lazy: dict[str, _Latest] = {}
        self._lazy_at = time.monotonic() + _LAZY_S
        self._count = 0  #: of what was put into the queue, ever
        self._durable = 0  #: so many of these are on the disk
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._is_busy = False
        self._is_due = False
        self._is_closing = False
        self.trouble = ""  #: why the last commit failed

    def hosts(self) -> Iterator[Host]:
        """All hosts that ever called."""
        for key, account, cpid, seqno, created, seen, told in self._write.execute(
            "SELECT id, account, cpid, seqno, created, seen, told FROM hosts"
        ):
            more = {each: value for each, value in json.loads(told).items() if each in _MORE}
            more["lacks"] = tuple(more.get("lacks", ()))
            yield Host(key, account, cpid, created, seqno, seen, **more)

    def rows(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """All that was sent and not dropped, each with its job's description."""
        for *head, state, is_unwanted, report, job in self._write.execute(
            "SELECT attempt, host, sent, deadline, most_bytes, token, state, is_unwanted,"
            " report, job FROM results"
        ):
            attempt, host, sent, deadline, most_bytes, token = head
            row = Row(attempt, host, sent, deadline, most_bytes, token, state)
            row.is_unwanted, row.report = bool(is_unwanted), report
            yield row, json.loads(job)

    def version_of(self, digest: str) -> int:
        """The number of the application with this digest; a new one gets the next. Waits for the
        disk. Raises RecordsTrouble."""
        try:
            with self._writing:
                with self._write:
                    self._write.execute(
                        "INSERT INTO versions (digest) VALUES (?) ON CONFLICT DO NOTHING",
                        [digest],
                    )
                [[number]] = self._write.execute(
                    "SELECT number FROM versions WHERE digest = ?", [digest]
                )
        except sqlite3.Error as error:
            raise RecordsTrouble(f"{self._path}: {error}") from error
        return int(number)

    def job_of(self, attempt: str) -> tuple[dict[str, Any], bytes] | None:
        """What was sent with an attempt: its job's description, and its order. Reads the disk;
        any thread may ask."""
        with self._reading:
            found = self._read.execute(
                "SELECT job, orders FROM results WHERE attempt = ?", [attempt]
            ).fetchone()
        return None if found is None else (json.loads(found[0]), found[1])

    # -- changes

    def put_host(self, host: Host, *, can_wait: bool = False) -> None:
        """Write what is known of a host; what can wait is not waited for by `settled`."""
        self._put(partial(_of_host, host), f"host {host.id}" if can_wait else "")

    def send(self, row: Row, job: dict[str, Any], order: bytes) -> None:
        """A result goes to a host, described by `job`, and with this order."""
        told = (json.dumps(job), order)
        head = (row.attempt, row.host, row.state, row.sent, row.deadline, row.most_bytes)
        sent = (*head, int(row.is_unwanted), row.token, row.report, *told)
        self._put(lambda: (_SEND, sent))

    def change(self, row: Row, *, can_wait: bool = False) -> None:
        """What became of a result that was sent."""
        self._put(partial(_of_row, row), f"row {row.attempt}" if can_wait else "")

    def drop(self, attempt: str) -> None:
        """Nobody will ask for this one any more."""
        self._lazy[f"row {attempt}"] = lambda: (_DROP, (attempt,))

    async def settled(self) -> None:
        """Return when all that was put until now, and cannot wait, is durable. Raises RecordsTrouble."""
        if self._durable >= self._count:
            return
        if self.trouble:
            raise RecordsTrouble(self.trouble)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((self._count, future))
        await future

    def look(self) -> None:
        """Write what could wait, when it has waited long enough."""
        if self._lazy and time.monotonic() >= self._lazy_at:
            self._begin_soon()

    async def close(self) -> None:
        """Write what is left, if that can be, and close."""
        self._is_closing = True
        while self._is_busy:
            await asyncio.sleep(0.01)
        rest = [*self._queue, *(latest() for latest in self._lazy.values())]
        with contextlib.suppress(sqlite3.Error):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, rest)
        self._thread.shutdown(wait=True)
        self._read.close()
        self._write.close()

    # -- commits

    def _put(self, latest: _Latest, lazy: str = "") -> None:
        if lazy:
            self._lazy[lazy] = latest
            return
        self._queue.append(latest())
        self._count += 1
        self._begin_soon()

    def _begin_soon(self) -> None:
        """When this turn of the loop is over, so that what belongs together comes together."""
        if not (self._is_due or self._is_busy or self.trouble):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_due = False
        if self._is_busy or self._is_closing or not (self._queue or self._lazy):
            return
        self._is_busy = True
        lazy, self._lazy = self._lazy, {}
        self._lazy_at = time.monotonic() + _LAZY_S
        statements, count = len(self._queue), self._count
        # Lazy ones last: a row is dropped after what was said of it.
        batch = [*self._queue, *(latest() for latest in lazy.values())]
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)
        future.add_done_callback(lambda done: self._ended(done, statements, count, lazy))

    def _commit(self, batch: list[_Statement]) -> None:
        with self._writing, self._write:
            for sql, values in batch:
                self._write.execute(sql, values)

    def _ended(
        self,
        done: asyncio.Future[None],
        statements: int,
        count: int,
        lazy: dict[str, _Latest],
    ) -> None:
        self._is_busy = False
        error = done.exception()
        if error is None:
            self.trouble = ""
            del self._queue[:statements]
            self._durable = count
        else:
            self.trouble = f"{self._path}: {error}"
            self._lazy = {**lazy, **self._lazy}
            asyncio.get_running_loop().call_later(_AGAIN_S, self._begin)
        waiting, self._waiting = self._waiting, []
        for number, future in waiting:
            self._answer(number, future)
        if error is None and self._queue:
            self._begin()

    def _answer(self, number: int, future: asyncio.Future[None]) -> None:
        if future.done():  # who waited has left
            return
        if number <= self._durable:
            future.set_result(None)
        elif self.trouble:
            future.set_exception(RecordsTrouble(self.trouble))
        else:
            self._waiting.append((number, future))

    # -- the file

    def _open(self) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._write = sqlite3.connect(self._path, check_same_thread=False)
        self._write.execute("PRAGMA journal_mode = WAL")
        self._write.execute("PRAGMA synchronous = FULL")
        [[version]] = self._write.execute("PRAGMA user_version")
        if version not in (0, _VERSION):
            raise RecordsTrouble(
                f"{self._path} has version {version}, this spoolmw knows {_VERSION}"
            )
        self._write.executescript(_SCHEMA + f"PRAGMA user_version = {_VERSION};")
        [[verdict]] = self._write.execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"malformed: {verdict}")
        self._read = sqlite3.connect(self._path, check_same_thread=False)

    def _set_aside(self) -> None:
        self.is_anew = True
        stamp = int(time.time())
        for end in ("", "-wal", "-shm"):
            path = f"{self._path}{end}"
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, f"{self._path}.damaged-{stamp}{end}")


def _of_host(host: Host) -> _Statement:
    told = {each: getattr(host, each) for each in _MORE}
    head = (host.id, host.account, host.cpid, host.seqno, host.created, host.seen)
    return _PUT_HOST, (*head, json.dumps(told))


def _of_row(row: Row) -> _Statement:
    values = (row.state, int(row.is_unwanted), row.deadline, row.report, row.attempt)
    return _CHANGE, values


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    if isinstance(error, sqlite3.OperationalError):  # no room, no right
        return False
    return any(each in str(error) for each in ("malformed", "not a database", "corrupt"))


__all__ = ["FAILED", "NAME", "REPORTED", "SENT", "Host", "Records", "RecordsTrouble", "Row"]
