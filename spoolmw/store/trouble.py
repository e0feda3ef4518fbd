"""Turns SQLite's errors into ours: no room, damaged, or not to be believed any more."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spoolmw.errors import DiskFull, JournalCorrupt, JournalLost, SpoolmwError

#: Results of SQLite that mean: no room.
_FULL = (sqlite3.SQLITE_FULL,)
#: Results that a full disk can cause, where SQLite does not say why.
_MAYBE_FULL = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_CANTOPEN,
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _ours(error, path) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _full(path, str(error)) from error


def missing(path: Path) -> JournalCorrupt:
    """The journal is not there, and the spool is not a fresh one."""
    return JournalCorrupt(
        f"the journal {path} is missing",
        why="the spool has accepted tasks that it must know",
        fix="restore it from the spool: spoolmwd --rebuild",
    )


def _ours(error: sqlite3.Error, path: Path) -> SpoolmwError:
    code = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    why = f"{error} ({name})"
    if code in _FULL or (code in _MAYBE_FULL and _has_no_room(path)):
        return _full(path, why)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return JournalCorrupt(
            f"the journal {path} is damaged",
            why=why,
            fix="restore it from the spool: spoolmwd --rebuild",
        )
    if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
        return JournalCorrupt(
            "a task's record breaks a rule of the journal",
            why=why,
            fix="this is a bug in spoolmw; please report it with the log",
        )
    return JournalLost(
        f"the journal {path} cannot be written",
        why=why,
        fix="look at the disk (dmesg); the next start continues from what is on it",
    )


def _full(path: Path, why: str) -> DiskFull:
    return DiskFull(f"no room for the journal {path}", why=why, fix="make room on its disk")


def _has_no_room(path: Path) -> bool:
    room = os.statvfs(path.parent)
    return room.f_bavail * room.f_frsize < 1 << 20 or (room.f_files > 0 and room.f_favail == 0)
