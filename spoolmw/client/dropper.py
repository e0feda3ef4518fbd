"""Puts task files into `incoming/`: written whole in `tmp/`, then one rename.

Rule: a file that could not be written or renamed leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from spoolmw.errors import BadTaskFile, SpoolmwError
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import sync_folder, syncfs, write_all

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o640  #: the daemon may be another member of the group


class Dropper:
    """Drops files into one box of a spool. `durable` costs an fsync and survives a power cut."""

    def __init__(self, layout: Layout, box: str) -> None:
        self._tmp = str(layout.tmp)
        self._folder = f"{layout.incoming}/{box}" if box else str(layout.incoming)
        self._is_box = bool(box)

    def drop(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Make the task file `name` appear in `incoming/`."""
        half = f"{self._tmp}/{name}"
        self._write(half, data, sync=durable)
        self._show(half, name)
        if durable:
            sync_folder(self._folder)

    def drop_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Drop many (name, content) durably: they share one sync."""
        written: list[tuple[str, str]] = []
        try:
            for name, data in files:
                half = f"{self._tmp}/{name}"
                self._write(half, data, sync=False)
                written.append((half, name))
            self._sync_tmp()
            written.reverse()
            while written:
                self._show(*written.pop())
        finally:
            for half, _ in written:
                Path(half).unlink(missing_ok=True)
        sync_folder(self._folder)

    def put_inputs(self, name: str, inputs: Mapping[str, Path], *, durable: bool) -> None:
        """Copy input files into the folder `NAME.in`, which has to be there before the task."""
        half = Path(f"{self._tmp}/{name}.in")
        try:
            half.mkdir(mode=0o750)
            for wanted, source in inputs.items():
                _copy_input(source, half / wanted)
            if durable:
                self._sync_tmp()
            self._show(str(half), f"{name}.in")
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            raise _cannot_write(error) from error
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise

    def take_back(self, name: str) -> bool:
        """Remove a file that the daemon has not taken yet; False when it has, for certain."""
        mine = f"{self._tmp}/{name}.part"
        try:
            os.rename(f"{self._folder}/{name}", mine)
        except FileNotFoundError:
            return False
        os.unlink(mine)
        shutil.rmtree(f"{self._folder}/{name}.in", ignore_errors=True)
        return True

    def _write(self, half: str, data: bytes, *, sync: bool) -> None:
        try:
            fd = os.open(half, _NEW, _MODE)
        except OSError as error:
            raise _cannot_write(error) from error
        try:
            try:
                write_all(fd, data)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException as error:
            os.unlink(half)
            if isinstance(error, OSError):
                raise _cannot_write(error) from error
            raise

    def _show(self, half: str, name: str) -> None:
        target = f"{self._folder}/{name}"
        try:
            try:
                os.rename(half, target)
            except FileNotFoundError:
                if not self._is_box:
                    raise
                _make_box(self._folder)
                os.rename(half, target)
        except OSError as error:
            if Path(half).is_file():
                os.unlink(half)
            raise _cannot_write(error) from error

    def _sync_tmp(self) -> None:
        fd = os.open(self._tmp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)


def _make_box(folder: str) -> None:
    """A box that nobody used before. It is shared with whom `incoming/` is shared with."""
    box = Path(folder)
    try:
        box.mkdir()
        box.chmod(box.parent.stat().st_mode & 0o7777)
    except FileExistsError:
        return


def _copy_input(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
        return
    if not source.is_file():
        raise BadTaskFile(
            f"the input {source} cannot be taken",
            why="there is no such file" if not source.exists() else "it is not a regular file",
            fix="inputs are files or folders, as paths from the current directory",
        )
    shutil.copy(source, target)


def _cannot_write(error: OSError) -> SpoolmwError:
    fix = {
        errno.ENOSPC: "make room on the spool's disk, then submit again",
        errno.EDQUOT: "make room within your quota, then submit again",
        errno.EACCES: "this user may not drop files here: see [intake] group in the configuration",
        errno.ENOENT: "the spool's folders are gone: is this the right spool?",
        errno.EROFS: "the spool's disk is read-only: look at the machine's log",
    }.get(error.errno or 0, "")
    return SpoolmwError(
        "the task file could not be written, nothing was submitted",
        why=f"{error.strerror}: {error.filename}" if error.filename else str(error),
        fix=fix,
    )
