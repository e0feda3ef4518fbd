"""The last half of the commit protocol: a staged result becomes a file in `results/`.

Before the commit of `DELIVERING` the staged file gets its trailer (`prepare`), so that one
sync covers it; after the commit one rename publishes it (`publish`). A staged file that is
gone was delivered: its consumer may already have taken it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import NamedTuple, NoReturn

from spoolmw.daemon.room import SCARCE
from spoolmw.errors import BadResultFile
from spoolmw.format.resultfile import body_bytes, daemon_body, read_trailer, trailer_line
from spoolmw.model.ids import AttemptId
from spoolmw.model.task import Task
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import append_trailer, rename_noreplace

MOST_SIZES = 4096  #: of staged files, kept from the report to the delivery that follows it


def staged_name(task: Task) -> str:
    """The name in `stage/` of what is to be delivered for `task`."""
    assert task.ending is not None
    return str(task.ending.staged) if task.ending.staged else f"{task.id}.end"


class Copied(NamedTuple):
    """A copy of a result that was staged for a twin."""

    body_bytes: int
    files: bool  #: with a folder of output files
    trusted: bool  #: whether pickles in it may be decoded


class Delivery:
    """Publishes results. Idempotent: each step may be repeated after a crash."""

    def __init__(self, layout: Layout) -> None:
        # Paths are joined as text here: pathlib costs more than the system call it is for.
        self._stage = f"{layout.stage}/"
        self._results = f"{layout.results}/"
        self._boxes: set[str] = {""}
        #: Lengths of staged files that were just looked at; each is good for one delivery.
        self._sizes: dict[AttemptId, int] = {}

    def prepare(self, task: Task) -> str:
        """Make the staged file of a DELIVERING task whole (its body and its trailer); its path.

        Raises OSError (ENOSPC among others); BadResultFile when the body is shorter than reported.
        """
        ending = task.ending
        assert ending is not None
        path = self._stage + staged_name(task)
        if ending.staged is None:
            body = daemon_body(task)
            with open(path, "wb") as file:
                file.write(body)
            append_trailer(path, len(body), b"\n" + trailer_line(task))
        else:
            size = self._sizes.pop(ending.staged, None)
            append_trailer(path, ending.body_bytes, b"\n" + trailer_line(task), size=size)
        return path

    def staged_bytes(self, attempt: AttemptId) -> int:
        """The length of an attempt's staged file; -1 when there is none."""
        try:
            size = os.stat(f"{self._stage}{attempt}").st_size
        except FileNotFoundError:
            return -1
        if len(self._sizes) >= MOST_SIZES:  # those of votes are not asked for again
            self._sizes.clear()
        self._sizes[attempt] = size
        return size

    def staged_path(self, attempt: AttemptId) -> str:
        """Where an attempt's result lies until it is delivered."""
        return f"{self._stage}{attempt}"

    def delivered_path(self, task: Task) -> str:
        """Where the result of `task` was put; its consumer may have taken it."""
        return f"{self._results}{task.box}/{task.result_name}.result"

    def publish(self, task: Task) -> bool:
        """Move the staged result to its place; False when the name is taken by something else."""
        assert task.ending is not None
        source = self._stage + staged_name(task)
        target = self._folder(task.box) + task.result_name
        if task.ending.files and not _move(f"{source}.files", f"{target}.files"):
            return False
        if _move(source, f"{target}.result"):
            return True
        if task.ending.files:
            os.rename(f"{target}.files", f"{source}.files")
        return False

    def is_delivered(self, task: Task) -> bool:
        """After a crash: a DELIVERING task whose staged file is gone was delivered."""
        return not os.path.lexists(self._stage + staged_name(task))

    def copy_staged(self, first: Task, twin: Task) -> Copied | None:
        """Stage a copy of `first`'s staged result for `twin`. None: it is delivered already."""
        source = self._stage + staged_name(first)
        return self._copy(source, f"{source}.files", first, twin)

    def copy_delivered(self, first: Task, twin: Task) -> Copied | None:
        """Stage a copy of `first`'s delivered result for `twin`. None: its consumer took it."""
        source = f"{self._results}{first.box}/{first.result_name}"
        return self._copy(f"{source}.result", f"{source}.files", first, twin)

    def _copy(self, source: str, files: str, first: Task, twin: Task) -> Copied | None:
        """Raises OSError when there is no room; what cannot be read for good is not there."""
        name = str(AttemptId(twin.id, 0, 0))
        copy = self._stage + name
        try:
            if not stat.S_ISREG(os.lstat(source).st_mode):
                return None
            shutil.copyfile(source, copy)
            trailer = read_trailer(copy)
            if trailer.get("id") != first.id:
                self.discard(name)  # its name was free again, and another task took it
                return None
            has_files = os.path.isdir(files)
            if has_files:
                shutil.rmtree(f"{copy}.files", ignore_errors=True)
                _copy_folder(files, f"{copy}.files")
            trusted = trailer.get("trusted", True) is True
            return Copied(body_bytes(copy), has_files, trusted)
        except (OSError, BadResultFile) as error:
            if isinstance(error, OSError) and error.errno in SCARCE:
                raise
            self.discard(name)
            return None

    def discard(self, name: str) -> None:
        """Remove a staged file and its folder, where there are any."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._stage + name)
        if os.path.isdir(f"{self._stage}{name}.files"):
            shutil.rmtree(f"{self._stage}{name}.files", ignore_errors=True)

    def _folder(self, box: str) -> str:
        """The folder of a box's results, with the slash behind it; it was there once."""
        if not box:
            return self._results
        folder = self._results + box
        if box not in self._boxes:
            os.makedirs(folder, exist_ok=True)
            self._boxes.add(box)
        if os.path.islink(folder):  # whoever may write into results/ may have put it there
            raise NotADirectoryError(errno.ENOTDIR, "a link stands where the box was", folder)
        return f"{folder}/"


def _move(source: str, target: str) -> bool:
    """True when what was at `source` stands at `target`; False when something else does."""
    try:
        try:
            rename_noreplace(source, target)
        except FileNotFoundError:
            if not os.path.lexists(source):
                return True  # moved before a crash
            os.makedirs(os.path.dirname(target), exist_ok=True)  # its consumer removed the box
            rename_noreplace(source, target)
    except FileExistsError:
        if not os.path.isdir(os.path.dirname(target)):
            raise  # not the name is taken, but the box's
        return False
    return True


def _copy_folder(source: str, target: str) -> None:
    """As shutil.copytree, which does not tell whether it was room that lacked. Raises OSError."""
    for folder, _, names in os.walk(source, onerror=_raise):
        into = target + folder[len(source) :]
        os.makedirs(into)
        for name in names:
            shutil.copy2(f"{folder}/{name}", f"{into}/{name}", follow_symlinks=False)


def _raise(error: OSError) -> NoReturn:
    raise error
