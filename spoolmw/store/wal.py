"""Makes room for the journal's write-ahead log before it is needed.

A commit that overwrites costs one flush of data; one that makes the file longer must also have
the file system commit the new length: twice the time on ext4. SQLite reads a log up to the first
frame whose checksum is wrong, so zeros behind the last frame mean nothing to it, and it starts
again at the front after each checkpoint without making the file shorter.
"""

from __future__ import annotations

import os
from pathlib import Path

FRAME_BYTES = 4096 + 24  #: a page of the database and the frame's header
HEADER_BYTES = 32
#: The room taken is at most this share of what is free.
SHARE = 20
_PIECE = bytes(1 << 20)


def make_room(wal: Path, pages: int) -> None:
    """Have the log at `wal` (it exists) be long enough for `pages` pages, if the disk has room."""
    wanted = HEADER_BYTES + pages * FRAME_BYTES
    room = os.statvfs(wal.parent)
    fd = os.open(wal, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if size >= wanted or wanted > room.f_bavail * room.f_frsize // SHARE:
            return
        try:
            _fill(fd, size, wanted)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)  # no room after all: it then grows as it needs
    finally:
        os.close(fd)


def _fill(fd: int, start: int, end: int) -> None:
    while start < end:
        start += os.pwrite(fd, _PIECE[: end - start], start)
