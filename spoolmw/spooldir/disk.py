"""Tells the room left on the spool's disk, and keeps some aside for ending what is under way."""

from __future__ import annotations

import os
from pathlib import Path

from spoolmw.spooldir.layout import Layout

#: Kept aside: room for the journal and the deliveries of what runs when the disk fills up.
BALLAST_BYTES = 64 << 20
#: The ballast never takes more than this share of what is free.
_SHARE = 20


def free_bytes(path: Path) -> int:
    """Room left for us on the file system of `path`."""
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


def free_inodes(path: Path) -> int:
    """Files that can still be made there; a large number where the file system does not count."""
    room = os.statvfs(path)
    return room.f_favail if room.f_files else 1 << 62


class Ballast:
    """A file that only takes room, until the room is needed."""

    def __init__(self, layout: Layout, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = layout.ballast
        self._size = size_bytes

    @property
    def size_bytes(self) -> int:
        """What can be given free now."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def fill(self) -> None:
        """Take the room, where there is plenty; no error when there is not."""
        size = min(self._size, free_bytes(self._path.parent) // _SHARE)
        if self.size_bytes >= size:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            self.release()
        finally:
            os.close(fd)

    def release(self) -> int:
        """Give the room free; how much it was."""
        size = self.size_bytes
        self._path.unlink(missing_ok=True)
        return size
