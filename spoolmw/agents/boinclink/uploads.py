"""The files that clients upload: `uploads/ATTEMPT.part` while they come, `uploads/ATTEMPT` when whole.

Rule 1: a file gets its name when its length and its digest are what its client said, and after it
is durable. So what has its name may be reported.
Rule 2: one writes; who comes later for the same file ends who was there before.

The methods here read and write the disk: they belong into threads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Collection
from pathlib import Path
from weakref import WeakSet

from spoolmw.spooldir.publish import sync_folder

_PART = ".part"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_PIECE_BYTES = 1 << 20
_MOST_RESERVE_BYTES = 1200 << 20  #: more than what stops the daemon's intake
_LEAST_SHARE_BYTES = 256 << 20


def share_bytes(room_bytes: int, parts: int) -> int:
    """What one of so many may take of a room; there is some for each."""
    return max(_LEAST_SHARE_BYTES, room_bytes // parts)


class NoRoom(OSError):
    """The disk is full, or nearly so."""


class Uploads:
    """The folder of uploads of one agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open: WeakSet[Coming] = WeakSet()
        self._lock = threading.Lock()
        self._promised = 0
        #: What the files of each attempt take, or will when they are whole.
        self.held = {
            each.removesuffix(_PART): (folder / each).stat().st_size
            for each in os.listdir(folder)
        }

    def path(self, attempt: str) -> Path:
        """Where a whole one lies."""
        return self._folder / attempt

    def has(self, attempt: str) -> bool:
        """Whether it is there, whole."""
        return self.path(attempt).exists()

    def size(self, attempt: str) -> int:
        """How much of it a client need not send again.

        Of what has not its name yet that is a byte less than is there: a client that hears of all its
        bytes takes its upload as done (BOINC, `client/pers_file_xfer.cpp`), and here it is not.
        """
        with contextlib.suppress(FileNotFoundError):
            return self.path(attempt).stat().st_size
        with contextlib.suppress(FileNotFoundError):
            return max(0, self._part(attempt).stat().st_size - 1)
        return 0

    def room_bytes(self) -> int:
        """What uploads may take of the disk in all, with what they have. Raises OSError."""
        return self._free() + self.taken_bytes()

    def taken_bytes(self) -> int:
        """What they have of it now, or will when they are whole."""
        return sum(list(self.held.values()))

    def begin(self, attempt: str, offset: int, nbytes: int) -> Coming | None:
        """Take what comes from `offset` on; None: no such part is there. Raises OSError."""
        more = nbytes - offset
        with self._lock:  # each sees what the others will take
            if self._free() < more + self._promised + self._coming_yet():
                raise NoRoom(errno.ENOSPC, "there is too little room for uploads")
            self._promised += more
        coming = None
        try:
            part, whole = str(self._part(attempt)), str(self.path(attempt))
            coming = Coming.begin(part, whole, offset, nbytes)  # may read long
        finally:
            with self._lock:
                self._promised -= more
                if coming is not None:
                    self.held[attempt] = nbytes
                    self._open.add(coming)
        return coming

    def _coming_yet(self) -> int:
        """What those that come now have still to write."""
        return sum(each.left for each in list(self._open) if each.is_open)

    def _free(self) -> int:
        """What uploads leave for others is not theirs."""
        disk = os.statvfs(self._folder)
        reserve = min(_MOST_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 10)
        return max(0, disk.f_bavail * disk.f_frsize - reserve)

    def remove(self, attempt: str) -> None:
        """Nobody needs it any more."""
        self.held.pop(attempt, None)
        for path in (self.path(attempt), self._part(attempt)):
            path.unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> None:
        """Remove what belongs to attempts that nobody knows."""
        for name in os.listdir(self._folder):
            if name.removesuffix(_PART) not in known:
                self.held.pop(name.removesuffix(_PART), None)
                with contextlib.suppress(OSError):
                    os.unlink(self._folder / name)

    def _part(self, attempt: str) -> Path:
        return self._folder / f"{attempt}{_PART}"


class Coming:
    """One file that comes now. One thread at a time."""

    def __init__(self, fd: int, part: str, target: str, nbytes: int) -> None:
        self._fd = fd
        self._part = part
        self._target = target
        self._nbytes = nbytes
        self._at = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    @classmethod
    def begin(cls, part: str, target: str, offset: int, nbytes: int) -> Coming | None:
        """Open it; what lies beyond `offset` is cut off."""
        fd = os.open(part, _FLAGS, 0o600)
        coming = cls(fd, part, target, nbytes)
        try:
            if os.fstat(fd).st_size < offset:
                coming.close()
                return None
            os.ftruncate(fd, offset)
            while coming._at < offset:
                data = os.pread(fd, min(_PIECE_BYTES, offset - coming._at), coming._at)
                coming._md5.update(data)
                coming._at += len(data)
        except BaseException:
            coming.close()
            raise
        return coming

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    @property
    def left(self) -> int:
        """So much is still to come."""
        return self._nbytes - self._at

    def write(self, data: bytes) -> None:
        """Some more of it; what is beyond its length is no part of it. Raises OSError."""
        data = data[: self.left]
        self._md5.update(data)
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], self._at + done)
        self._at += len(data)

    def finish(self, md5: str) -> bool:
        """Give it its name, durably; False: it is not what was announced. Raises OSError."""
        try:
            if self.left or (md5 and self._md5.hexdigest() != md5):
                os.unlink(self._part)
                return False
            self._settle()
            return True
        finally:
            self.close()

    def _settle(self) -> None:
        """Make it durable, with its name; where that fails nothing stays. Raises OSError.

        What could not be synced once may seem to be there the next time, and is not on the disk.
        """
        try:
            os.fsync(self._fd)
            os.rename(self._part, self._target)
            sync_folder(os.path.dirname(self._target))
        except OSError:
            for each in (self._part, self._target):
                with contextlib.suppress(OSError):
                    os.unlink(each)
            raise

    def close(self) -> None:
        """Leave it as it is; the rest may come later."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
