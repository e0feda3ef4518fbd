"""What the front end keeps of its own, in `front.db`: its hosts, and what they were sent.

It is all in memory too; the database is read once, at the start. What is kept and why it is no part
of the journal: docs/adr/0030.

Rule 1: nothing is said to a client, nor to the daemon, before what it rests on is committed:
`await records.settled()`.
Rule 2: one commit serves all who wait. While one runs, what comes is gathered for the next.
Rule 3: what cannot be written now (the disk is full) stays in the queue, in order, and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "front.db"
_VERSION = 1  #: of the schema
_AGAIN_S = 2.0  #: before what failed is tried again
_LAZY_S = 30.0  #: what may be lost is written so late

#: Where a sent result stands.
SENT, REPORTED, FAILED = 1, 2, 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hosts (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, cpid TEXT NOT NULL, seqno INTEGER NOT NULL,
    created REAL NOT NULL, seen REAL NOT NULL, told TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results (
    attempt TEXT PRIMARY KEY, host INTEGER NOT NULL, state INTEGER NOT NULL,
    sent REAL NOT NULL, deadline REAL NOT NULL, most_bytes INTEGER NOT NULL,
    is_unwanted INTEGER NOT NULL, token TEXT NOT NULL, report TEXT NOT NULL,
    files TEXT NOT NULL, job TEXT NOT NULL, orders BLOB NOT NULL
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
_SEND = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHANGE = "UPDATE results SET state = ?, is_unwanted = ?, deadline = ?, report = ? WHERE attempt = ?"
_DROP = "DELETE FROM results WHERE attempt = ?"


@dataclass(slots=True, eq=False)
class Host:
    """One client's data folder, as its server knows it. Most of it is what the host says of itself."""

    id: int
    account: str  #: its name
    cpid: str  #: of the data folder; copies of it have the same
    created: float  #: wall clock, as all times here
    seqno: int = 0  #: the highest of its calls
    seen: float = 0.0  #: its last call
    name: str = ""  #: allow-listed
    platform: str = ""  #: ours, as "linux-x86_64"
    client_platform: str = ""  #: as its client calls it
    os: str = ""
    cores: int = 1
    memory_bytes: int = 0
    disk_bytes: int = 0  #: that are free
    flops: float = 0.0  #: per second, of one core
    quota: int = 0  #: jobs that it may have at one time; 0: as many as any
    failures: int = 0  #: in a row
    rests_until: float = 0.0  #: gets nothing before
    needs_bundle: bool = False  #: it has no Python that fits
    lacks: tuple[str, ...] = ()  #: versions of Python that it was asked for in vain
    done: int = 0  #: jobs that ended well, ever
    failed: int = 0

    @property
    def label(self) -> str:
        """Its name for people, which no other host of the section has."""
        return f"{self.name or 'host'}-{self.id}"


@dataclass(slots=True, eq=False)
class Row:
    """One result that was sent to a host, until the daemon releases its attempt."""

    attempt: str
    host: int
    sent: float
    deadline: float
    most_bytes: int  #: of its output file
    token: str  #: the attempt's, as the daemon gave it
    files: tuple[str, ...]  #: names of the input files, as clients ask for them
    state: int = SENT
    is_unwanted: bool = False  #: nobody waits for it any more, but its host may have it still
    report: str = ""  #: JSON: what its host said of its end
    resends: int = 0  #: since this process began


class RecordsTrouble(Exception):
    """What must be written first cannot be; the text says why."""


class Records:
    """The database. All methods belong to the thread of the loop; commits run in one of their own."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it. Raises RecordsTrouble."""
        raise NotImplementedError

    def hosts(self) -> Iterator[Host]:
        raise NotImplementedError

    def rows(self) -> Iterator[Row]:
        raise NotImplementedError

    def version_of(self, digest: str) -> int:
        """The number of the application with this digest; a new one gets the next. Commits."""
        raise NotImplementedError

    def job_of(self, attempt: str) -> tuple[dict[str, Any], bytes] | None:
        """What was sent with an attempt: its job's description, and its order. Reads the disk."""
        raise NotImplementedError

    def put_host(self, host: Host, *, can_wait: bool = False) -> None:
        """Write what is known of a host; what can wait is not waited for by `settled`."""
        raise NotImplementedError

    def send(self, row: Row, job: dict[str, Any], order: bytes) -> None:
        raise NotImplementedError

    def change(self, row: Row, *, can_wait: bool = False) -> None:
        raise NotImplementedError

    def drop(self, attempt: str) -> None:
        raise NotImplementedError

    async def settled(self) -> None:
        """Return when all that was put until now, and cannot wait, is durable. Raises RecordsTrouble."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
