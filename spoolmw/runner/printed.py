"""Keeps what a command printed beside its checkpoints, where its job may be started again.

Of a job's attempt that is lost nothing stays but its checkpoints, and what is printed is in none of
them. So the files have a second name there, from the first save on; a checkpoint says how much of
them belongs to it.
"""

from __future__ import annotations

import contextlib
import os
from typing import List, Sequence

from . import outputs

NAMES = ("stdout", "stderr")
BEFORE = ".before"  #: behind the name of a folder of outputs: a link to where they are kept


def paths(files: str) -> List[str]:
    """What a command prints to, whose folder of outputs is `files`."""
    return [f"{files}/{name}" for name in NAMES]


def keep(files: str) -> None:
    """See to it that what was printed until now stays, if there is a place for it. Raises OSError."""
    before = f"{files}{BEFORE}"
    if not os.path.islink(before):
        return  # no job of a batch system's: whoever goes on prints anew
    folder = os.path.realpath(before)
    os.makedirs(folder, 0o700, exist_ok=True)
    for path, name in zip(paths(files), NAMES):
        with contextlib.suppress(FileNotFoundError):
            _sync(path)
            if not _are_one(path, f"{folder}/{name}"):
                _have(path, f"{folder}/{name}")
    _sync(folder)


def put_back(files: str, lengths: Sequence[object]) -> None:
    """Begin with what had been printed at a checkpoint, as it told the lengths. Raises OSError."""
    for path, name, length in zip(paths(files), NAMES, lengths):
        with contextlib.suppress(FileNotFoundError):
            outputs.copy(f"{files}{BEFORE}/{name}", path, 0o666)
            if type(length) is int and 0 <= length < os.stat(path).st_size:
                os.truncate(path, length)  # the rest will be printed once more


def _have(source: str, target: str) -> None:
    half = f"{target}.half"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half)
    try:
        os.link(source, half)
    except OSError:  # another file system
        outputs.copy(source, half, 0o600)
    os.replace(half, target)


def _are_one(source: str, target: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samefile(source, target)
    return False


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
