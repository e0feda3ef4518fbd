"""Opens a journal for looking, in the way that its state and our rights allow; never writes it.

A plain read-only connection works beside a running daemon, and after a crash, for its user.
Without a `-wal` nothing is under way and the file itself is read as it is. Where neither is
possible a private copy of both files is read: `immutable` with a `-wal` would show yesterday.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from spoolmw.errors import BadSpool, JournalCorrupt, SpoolmwError
from spoolmw.store.sql import QUERIES, VERSION

#: Copies that are tried while the daemon moves its WAL into the database.
_TRIES = 20
_SALTS = 32  # the WAL's header: it changes when the WAL starts anew

Opened = tuple[sqlite3.Connection, Callable[[], None]]


def open_journal(path: Path) -> Opened:
    """A connection for reading, and what to call when it is closed."""
    try:
        if not path.exists():
            return _empty(), _nothing
        if not _wal(path).exists():
            return _connected(path, "immutable=1"), _nothing
        try:
            return _connected(path, "mode=ro"), _nothing
        except sqlite3.OperationalError:
            return _copied(path)
    except PermissionError as error:
        raise BadSpool(
            f"the journal {path} cannot be read",
            why=error.strerror or "",
            fix="ask as the daemon's user, or in the group that its folder belongs to",
        ) from error
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: sqlite3.Error) -> SpoolmwError:
    """SQLite's complaint as an error of ours."""
    return JournalCorrupt(
        f"the journal {path} cannot be read",
        why=str(error),
        fix="stop the daemon, then: spoolmwd --rebuild",
    )


def _check_version(conn: sqlite3.Connection, path: Path) -> None:
    """Only the daemon changes a journal, so one of another version cannot be read as ours."""
    (found,) = conn.execute("PRAGMA user_version").fetchone()
    if found != VERSION:
        newer = found > VERSION
        raise BadSpool(
            f"the journal {path} is of version {found}, this spoolmw reads version {VERSION}",
            why=f"it was written by {'a newer' if newer else 'an older'} spoolmw",
            fix="use that one's spoolmw-ctl"
            if newer
            else "start the daemon of this version once: it brings the journal up to date",
        )


def _empty() -> sqlite3.Connection:
    """A journal in which nothing has happened yet: the daemon never ran here."""
    conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for name, statement in QUERIES.items():
        if name.startswith("create_"):
            conn.execute(statement)
    return conn


def _connected(path: Path, how: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?{how}"
    conn = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    try:
        conn.execute("SELECT count(*) FROM meta").fetchone()
        _check_version(conn, path)
    except (sqlite3.Error, BadSpool):
        conn.close()
        raise
    return conn


def _copied(path: Path) -> Opened:
    folder = Path(tempfile.mkdtemp(prefix="spoolmw-"))
    mine = folder / path.name
    try:
        for _ in range(_TRIES):
            before = _version(path)
            shutil.copyfile(path, mine)
            if _wal(path).exists():
                shutil.copyfile(_wal(path), _wal(mine))
            if _version(path) == before:
                break
        conn = _connected(mine, "mode=rw")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return conn, lambda: shutil.rmtree(folder, ignore_errors=True)


def _version(path: Path) -> tuple[int, int, bytes]:
    """Changes when pages move from the WAL to the database, not when the WAL only grows."""
    found = path.stat()
    try:
        with open(_wal(path), "rb") as wal:
            salts = wal.read(_SALTS)
    except FileNotFoundError:
        salts = b""
    return found.st_mtime_ns, found.st_size, salts


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _nothing() -> None:
    return None
