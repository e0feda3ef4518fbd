"""Lets one daemon at a time serve a spool: a lock that the kernel drops with its holder.

The number in the file is only for people; nothing is decided by it, so a stale one does no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from spoolmw.errors import BadSpool, SpoolBusy


class SpoolLock:
    """The exclusive right to a spool, held until `release` or the process ends."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self.path = path

    @classmethod
    def acquire(cls, path: Path) -> SpoolLock:
        """Take the lock at `path` without waiting; SpoolBusy names who holds it."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BadSpool(
                f"the lock {path} cannot be opened",
                why=error.strerror or "",
                fix="run the daemon as the user who owns the spool",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _text(fd)
            os.close(fd)
            raise SpoolBusy(
                f"the spool {path.parent} is served already",
                why=f"process {pid or 'unknown'} holds {path}",
                fix=f"stop it first (systemctl stop spoolmwd, or kill {pid or 'it'}), or use another spool",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd, path)

    def release(self) -> None:
        """Give the spool free. The file stays: removing it would let two daemons hold two locks."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # the number only tells people
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _text(fd: int) -> str:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else ""


def holder(path: Path) -> int | None:
    """The process that holds the lock at `path`, as the kernel tells it; None when it is free.

    Looks into /proc/locks rather than trying the lock: a trial could make a starting daemon fail.
    """
    try:
        found = path.stat()
        table = Path("/proc/locks").read_text("ascii", "replace")
    except OSError:
        return None
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in table.splitlines():
        words = line.split()
        if "FLOCK" in words and "WRITE" in words and device in words and "->" not in words:
            return int(words[words.index("WRITE") + 1])
    return None
