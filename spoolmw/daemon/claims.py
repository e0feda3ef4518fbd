"""A dropped file on its way into `active/`: its place, the checks, its canonical form."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spoolmw.errors import BadTaskFile
from spoolmw.format.arrays import MOST_ELEMENTS
from spoolmw.format.taskfile import TaskFile
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.spooldir.drops import Drop

#: What the owner of a file can do to it so that we cannot read it; trying again is of no use.
CLOSED = (
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENXIO),
)


PIECE_BYTES = 1 << 20  #: copied at once


class Place(NamedTuple):
    """A claimed file: where it lies and what its name said."""

    path: str
    id: TaskId
    box: str
    dropped: str


def check_agents(spec: Spec, agents: Collection[str]) -> None:
    """The agents that `spec` names are configured. Raises BadTaskFile."""
    for name in spec.place.agents:
        if name not in agents and not any(each.startswith(f"{name}:") for each in agents):
            raise BadTaskFile(
                f"[place] agents names {name!r}, which is not an agent of this daemon",
                why=f"configured are: {', '.join(sorted(agents))}",
                fix="name one of these, or leave the key out for any agent",
            )


def check_elements(number: int, most: int) -> None:
    """An array is not larger than the daemon takes. Raises BadTaskFile."""
    most = min(most, MOST_ELEMENTS)
    if number > most:
        raise BadTaskFile(
            f"the array has {number:,} elements",
            why=f"this daemon takes arrays of up to {most:,}",
            fix=f"raise [intake] max_elements in the configuration (up to {MOST_ELEMENTS:,}),"
            " or let each element do more",
        )


def check_same(place: Place, drop: Drop) -> None:
    """The file that was claimed is the one that was looked at. Raises BadTaskFile."""
    found = os.lstat(place.path)
    if not stat.S_ISREG(found.st_mode) or found.st_ino != drop.inode:
        raise BadTaskFile(
            f"{drop.name} was replaced while it was accepted",
            why="another file stood there when it was claimed than when it was checked",
            fix="drop it once more",
        )
    if found.st_size != drop.stat_size:
        raise BadTaskFile(
            f"{drop.name} was written to while it was accepted",
            why=f"it had {drop.stat_size} bytes when it was checked, and {found.st_size} then",
            fix="drop it once more: written elsewhere in the spool's file system, then renamed",
        )


def unreadable(error: OSError) -> BadTaskFile:
    """Why a claimed file is refused that cannot be read."""
    return BadTaskFile(
        "the file cannot be read",
        why=error.strerror or str(error),
        fix="let it be readable for the daemon's user, and drop it once more",
    )


def replace(place: Place, head: bytes, parsed: TaskFile, *, tmp: Path) -> None:
    """Put the canonical file in the place of a claimed one: another head, the same body.

    No more is copied than was announced: its owner may still be adding to the file.
    """
    fresh = tmp / f"{place.id}.canonical"
    with open(place.path, "rb") as old, open(fresh, "wb") as new:
        new.write(head)
        old.seek(parsed.body_offset)
        copy_body(old, new, parsed.body.size_bytes)
    os.chmod(fresh, 0o400)
    os.rename(fresh, place.path)


def copy_body(old: BinaryIO, new: BinaryIO, most: int) -> None:
    """Copy up to `most` bytes."""
    while most > 0 and (piece := old.read(min(most, PIECE_BYTES))):
        new.write(piece)
        most -= len(piece)


def digest(path: str) -> str:
    """The sha256 of a whole file: of a script, whose body is all of it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
