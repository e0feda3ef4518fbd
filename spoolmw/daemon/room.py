"""Disk room and durability: the watermark below which intake stops, and the one sync of a tick.

A failed sync is not believed a second time: after it nobody knows what the page cache lost,
so it ends the daemon (`SyncFailed`), and the next start reads what is on disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from spoolmw.errors import DiskFull, SpoolmwError
from spoolmw.format.units import format_size
from spoolmw.spooldir.disk import Ballast, free_bytes, free_inodes
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import sync_these, syncfs

LOOK_S = 1.0  #: between two looks at the free room
MIN_INODES = 1000  #: with fewer free inodes intake stops


#: What passes by itself: no room, no inodes, no descriptors, no memory.
SCARCE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class SyncFailed(SpoolmwError):
    """The disk refused to make data durable. The daemon ends; its next start loses nothing."""


def disk_full(error: OSError) -> SpoolmwError:
    """`error` as ours: DiskFull when there is no room, else what ends the daemon."""
    if error.errno in SCARCE:
        return DiskFull(f"no room on the spool's disk: {error}")
    return SyncFailed(
        f"the spool cannot be written: {error}",
        fix="look at the disk (dmesg), then start spoolmwd again",
    )


class DiskRoom:
    """Free room of the spool's file system, and its sync."""

    def __init__(self, layout: Layout, low_bytes: int) -> None:
        self._root = layout.root
        self._fd = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._ballast = Ballast(layout)
        self._reason = ""
        self._full = ""
        self.low_bytes = low_bytes
        self.next_look = 0.0

    def look(self, now: float) -> str:
        """Why no files are taken for lack of room; empty when there is room."""
        if now < self.next_look:
            return self._reason
        self.next_look = now + LOOK_S
        free, inodes = free_bytes(self._root), free_inodes(self._root)
        if free < self.low_bytes:
            self._reason = (
                f"disk low: {format_size(free)} free, intake stops below "
                f"{format_size(self.low_bytes)} ([disk] low)"
            )
        elif inodes < MIN_INODES:
            self._reason = f"disk low: {inodes} inodes free, intake stops below {MIN_INODES}"
        else:
            self._reason = ""
            if not self._full:
                self._ballast.fill()
        self._full = ""
        return self._reason

    def full(self, why: str) -> None:
        """A write found no room: give the ballast away, so that what is under way can end."""
        self._full = why
        self._reason = f"disk full: {why}"
        self._ballast.release()

    def sync(self, only: Sequence[str] = ()) -> None:
        """Make all that was written to the spool durable. Raises DiskFull or SyncFailed.

        `only`: nothing needs it but this file and the folders that its name came to and left.
        That takes two thirds of the time: what the file system itself has put off stays so.
        """
        try:
            if not (only and sync_these(only)):
                syncfs(self._fd)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(error) from error
            raise SyncFailed(
                f"the spool could not be synced: {error.strerror}",
                why="after a failed sync nobody knows what reached the disk",
                fix="look at the disk (dmesg, smartctl), then start spoolmwd again",
            ) from error

    def report(self) -> dict[str, int]:
        """Free room and the watermark, for `status`."""
        return {"free_bytes": free_bytes(self._root), "low_bytes": self.low_bytes}

    def close(self) -> None:
        os.close(self._fd)
