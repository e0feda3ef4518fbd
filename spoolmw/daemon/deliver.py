"""The last half of the commit protocol: a staged result becomes a file in `results/`.

Before the commit of `DELIVERING` the staged file gets its trailer (`prepare`), so that one
sync covers it; after the commit one rename publishes it (`publish`). A staged file that is
gone was delivered: its consumer may already have taken it.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from spoolmw.format.resultfile import daemon_body, trailer_line
from spoolmw.model.ids import AttemptId
from spoolmw.model.task import Task
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import append_trailer, rename_noreplace


def staged_name(task: Task) -> str:
    """The name in `stage/` of what is to be delivered for `task`."""
    assert task.ending is not None
    return str(task.ending.staged) if task.ending.staged else f"{task.id}.end"


class Delivery:
    """Publishes results. Idempotent: each step may be repeated after a crash."""

    def __init__(self, layout: Layout) -> None:
        # Paths are joined as text here: pathlib costs more than the system call it is for.
        self._stage = f"{layout.stage}/"
        self._results = f"{layout.results}/"
        self._boxes: set[str] = {""}

    def prepare(self, task: Task) -> None:
        """Make the staged file of a DELIVERING task whole: its body and its trailer.

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
            return
        append_trailer(path, ending.body_bytes, b"\n" + trailer_line(task))

    def staged_bytes(self, attempt: AttemptId) -> int:
        """The length of an attempt's staged file; -1 when there is none."""
        try:
            return os.stat(f"{self._stage}{attempt}").st_size
        except FileNotFoundError:
            return -1

    def publish(self, task: Task) -> bool:
        """Move the staged result to its place; False when the name is taken by something else."""
        assert task.ending is not None
        source = self._stage + staged_name(task)
        target = self._folder(task.box) + task.result_name
        if task.ending.files and not self._move_files(f"{source}.files", f"{target}.files"):
            return False
        try:
            rename_noreplace(source, f"{target}.result")
        except FileNotFoundError:
            return True  # delivered before a crash
        except FileExistsError:
            if task.ending.files:
                os.rename(f"{target}.files", f"{source}.files")
            return False
        return True

    def is_delivered(self, task: Task) -> bool:
        """After a crash: a DELIVERING task whose staged file is gone was delivered."""
        return not os.path.lexists(self._stage + staged_name(task))

    def copy_staged(self, first: Task, twin: Task) -> bool:
        """Stage a copy of `first`'s staged result for `twin`. False: it is delivered already."""
        source = self._stage + staged_name(first)
        return self._copy(source, f"{source}.files", first, twin)

    def copy_delivered(self, first: Task, twin: Task) -> bool:
        """Stage a copy of `first`'s delivered result for `twin`. False: its consumer took it."""
        source = f"{self._results}{first.box}/{first.result_name}"
        return self._copy(f"{source}.result", f"{source}.files", first, twin)

    def _copy(self, source: str, files: str, first: Task, twin: Task) -> bool:
        assert first.ending is not None
        name = str(AttemptId(twin.id, 0, 0))
        try:
            shutil.copyfile(source, self._stage + name)
            if first.ending.files:
                place = f"{self._stage}{name}.files"
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(files, place, symlinks=True)
        except FileNotFoundError:
            self.discard(name)
            return False
        return True

    def discard(self, name: str) -> None:
        """Remove a staged file and its folder, where there are any."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._stage + name)
        if os.path.isdir(f"{self._stage}{name}.files"):
            shutil.rmtree(f"{self._stage}{name}.files", ignore_errors=True)

    def _move_files(self, files: str, place: str) -> bool:
        """True when the folder of files stands at its place."""
        try:
            rename_noreplace(files, place)
        except FileNotFoundError:
            return True  # moved before a crash
        except FileExistsError:
            return False
        return True

    def _folder(self, box: str) -> str:
        """The folder of a box's results, with the slash behind it."""
        folder = f"{self._results}{box}/" if box else self._results
        if box not in self._boxes:
            os.makedirs(folder, exist_ok=True)
            self._boxes.add(box)
        return folder
