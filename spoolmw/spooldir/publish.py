"""Makes files appear whole and takes them by rename: the only two ways in which files move.

Rule: nothing is written under its final name. What is durable becomes so by the daemon's
`syncfs` of a whole tick, or by `publish(..., sync=True)` for a file that stands alone.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import secrets
import sys
from collections.abc import Iterable

from spoolmw.errors import BadResultFile

StrPath = str | os.PathLike[str]

_libc = ctypes.CDLL(None, use_errno=True)  # a call through CDLL gives the interpreter lock away
_renameat2 = _libc.renameat2
_renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)
_syncfs = _libc.syncfs
_syncfs.argtypes = (ctypes.c_int,)
_AT_FDCWD = -100
_NOREPLACE = 1
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_counter = itertools.count()
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def publish(
    data: bytes, target: StrPath, *, tmp: StrPath, sync: bool = True, mode: int = 0o640
) -> None:
    """Make `target` appear complete or not at all; with `sync`, also after a power cut.

    Replaces what stands there. `tmp` is a folder on the same file system.
    """
    half = write_temporary(data, tmp, sync=sync, mode=mode)
    try:
        os.rename(half, target)
    except BaseException:
        os.unlink(half)
        raise
    if sync:
        sync_folder(os.path.dirname(os.fspath(target)))


def write_temporary(data: bytes, tmp: StrPath, *, sync: bool = False, mode: int = 0o640) -> str:
    """Write `data` to a new file in the folder `tmp` and return its path; on error nothing stays."""
    half = f"{os.fspath(tmp)}/{os.getpid()}-{next(_counter)}-{secrets.token_hex(4)}.part"
    fd = os.open(half, _NEW, mode)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        os.unlink(half)
        raise
    return half


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however many calls it takes."""
    done = os.write(fd, data)
    if done == len(data):
        return
    rest = memoryview(data)
    while done < len(rest):
        done += os.write(fd, rest[done:])


def claim(path: StrPath, target: StrPath) -> bool:
    """Take the file at `path` by a rename to `target`; False if somebody else took it first.

    Only for targets that nobody else makes (their names carry an id): an existing one is replaced.
    """
    try:
        os.rename(path, target)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise  # it is the target's folder that is missing
        return False
    return True


def rename_noreplace(source: StrPath, target: StrPath) -> None:
    """Rename `source` to `target`; FileExistsError when there is something, even a broken link."""
    old, new = _encoded(os.fspath(source)), _encoded(os.fspath(target))
    if _renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))


def _encoded(path: str) -> bytes:
    # as os.fsencode, which is one more call in Python for each file
    return path.encode(_ENCODING, _ERRORS)


def syncfs(fd: int) -> None:
    """Make everything on the file system of `fd` durable. Raises OSError; then trust nothing."""
    while _syncfs(fd) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def sync_these(paths: Iterable[str]) -> bool:
    """Make these files and folders durable; False when one of them cannot be opened."""
    for path in paths:
        try:
            fd = os.open(path, _LOOK)
        except OSError:
            return False
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    return True


def sync_folder(folder: StrPath) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def append_trailer(
    path: StrPath, body_bytes: int, trailer: bytes, *, size: int | None = None
) -> None:
    """Make the file at `path` its first `body_bytes` bytes and then `trailer`; may be repeated.

    `size` is what the file has, from who has just looked. Raises FileNotFoundError, and
    BadResultFile when the file is shorter than its body.
    """
    fd = os.open(path, _APPEND)
    try:
        if size is None:
            size = os.fstat(fd).st_size
        if size < body_bytes:
            raise BadResultFile(
                f"{os.fspath(path)} has {size} bytes, and {body_bytes} were reported",
                why="it was cut off after its attempt ended",
                fix="the attempt has to run again",
            )
        if size > body_bytes:
            os.ftruncate(fd, body_bytes)
        write_all(fd, trailer)
    finally:
        os.close(fd)
