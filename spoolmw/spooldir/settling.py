"""Decides when a file that is written in place is whole: nobody writes, nothing changes.

Also keeps what must be looked at again later: files cut off, files that cannot be read.
"""

from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import dataclass

from spoolmw.errors import BadTaskFile

#: Files watched at a time; further ones wait for their turn, so memory stays bounded.
MOST_WATCHED = 20_000


@dataclass(slots=True)
class Watched:
    """A file as it was last seen, and when to look again (monotonic clock)."""

    size: int
    mtime_ns: int
    inode: int
    due: float
    since: float  #: unchanged since then
    error: BadTaskFile | None = None  #: why it is refused when it stays as it is
    told: bool = False  #: the operator was told

    def is_as(self, found: os.stat_result) -> bool:
        """Nothing changed."""
        return (
            self.size == found.st_size
            and self.mtime_ns == found.st_mtime_ns
            and self.inode == found.st_ino
        )

    def is_being_written(self, fd: int) -> bool:
        """Somebody has it open for writing, or was just done when it was looked at."""
        return is_being_written(fd) or not self.is_as(os.fstat(fd))


class Settling:
    """The files that are not ready, by their path."""

    def __init__(self, settle_s: float) -> None:
        self.settle_s = settle_s
        self._watched: dict[str, Watched] = {}

    def __bool__(self) -> bool:
        return bool(self._watched)

    def get(self, path: str) -> Watched | None:
        """What is known of the file at `path`."""
        return self._watched.get(path)

    def is_early(self, path: str, now: float) -> bool:
        """It is not yet time to look at it: it was looked at lately, or too many are watched."""
        watched = self._watched.get(path)
        if watched is None:
            return len(self._watched) >= MOST_WATCHED and not path.endswith(".task")
        return now < watched.due

    def forget(self, path: str) -> None:
        """The file is ready, refused or gone."""
        self._watched.pop(path, None)

    def has_settled(self, path: str, fd: int, found: os.stat_result, now: float) -> bool:
        """Nobody writes to the file and it did not change for `settle_s`; else look again later."""
        watched = self._watched.get(path)
        if watched is None or not watched.is_as(found):
            self.watch(path, found, now)
            return False
        if watched.is_being_written(fd):
            watched.due = watched.since = now + self.settle_s
            return False
        return now >= watched.due

    def watch(self, path: str, found: os.stat_result, now: float) -> None:
        """Look again when it may have settled."""
        if path in self._watched or len(self._watched) < MOST_WATCHED:
            self._watched[path] = Watched(
                found.st_size, found.st_mtime_ns, found.st_ino, now + self.settle_s, now
            )

    def put(self, path: str, watched: Watched) -> None:
        """Look again at `watched.due`."""
        if path in self._watched or len(self._watched) < MOST_WATCHED:
            self._watched[path] = watched

    def next_due(self) -> float | None:
        """When the first of them is to be looked at again; None: nothing waits."""
        return min((watched.due for watched in self._watched.values()), default=None)

    def is_waiting(self) -> bool:
        """Some of them may become ready without anybody's doing."""
        return not all(watched.told for watched in self._watched.values())

    def drop_vanished(self, pass_began: float) -> None:
        """After a whole pass: what was due when it began and is still listed is gone."""
        for path in [p for p, w in self._watched.items() if w.due < pass_began]:
            del self._watched[path]


def is_being_written(fd: int) -> bool:
    """Somebody has this file open for writing. False also where the kernel does not tell us.

    A read lease can be had only on a file that nobody writes, by its owner. The signal that
    a broken lease sends must be one that is ignored: the default one would end the daemon.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
