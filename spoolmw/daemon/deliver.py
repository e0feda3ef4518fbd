"""The last half of the commit protocol: a staged result becomes a file in `results/`.

Before the commit of `DELIVERING` the staged file gets its trailer (`prepare`), so that one
sync covers it; after the commit one rename publishes it (`publish`). A staged file that is
gone was delivered: its consumer may already have taken it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
        self._stage = layout.stage
        self._results = layout.results
        self._boxes: set[str] = {""}

    def prepare(self, task: Task) -> None:
        """Make the staged file of a DELIVERING task whole: its body and its trailer.

        Raises OSError (ENOSPC among others); ValueError when the body is shorter than reported.
        """
        ending = task.ending
        assert ending is not None
        path = self._stage / staged_name(task)
        if ending.staged is None:
            body = daemon_body(task)
            path.write_bytes(body)
            append_trailer(path, len(body), b"\n" + trailer_line(task))
            return
        append_trailer(path, ending.body_bytes, b"\n" + trailer_line(task))

    def staged_bytes(self, attempt: AttemptId) -> int:
        """The length of an attempt's staged file; -1 when there is none."""
        try:
            return os.stat(f"{self._stage}/{attempt}").st_size
        except FileNotFoundError:
            return -1

    def publish(self, task: Task) -> bool:
        """Move the staged result to its place; False when the name is taken by something else."""
        assert task.ending is not None
        source = self._stage / staged_name(task)
        target = self._folder(task.box) / f"{task.result_name}.result"
        files, place = self._folders(task)
        if task.ending.files and not self._move_files(files, place):
            return False
        try:
            rename_noreplace(source, target)
        except FileNotFoundError:
            return True  # delivered before a crash
        except FileExistsError:
            if task.ending.files:
                os.rename(place, files)
            return False
        return True

    def is_delivered(self, task: Task) -> bool:
        """After a crash: a DELIVERING task whose staged file is gone was delivered."""
        return not (self._stage / staged_name(task)).exists()

    def copy(self, first: Task, twin: Task) -> tuple[int, str] | None:
        """Stage a copy of `first`'s delivered result for `twin`: (body bytes, digest), or None.

        None: the result is not where it was delivered, its consumer took it.
        """
        assert first.ending is not None
        folder = self._results / first.box
        staged = self._stage / str(AttemptId(twin.id, 0, 0))
        try:
            shutil.copyfile(folder / f"{first.result_name}.result", staged)
            if first.ending.files:
                place = staged.with_name(f"{staged.name}.files")
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(folder / f"{first.result_name}.files", place, symlinks=True)
        except FileNotFoundError:
            staged.unlink(missing_ok=True)
            return None
        return first.ending.body_bytes, first.ending.digest

    def discard(self, name: str) -> None:
        """Remove a staged file and its folder, where there are any."""
        (self._stage / name).unlink(missing_ok=True)
        folder = self._stage / f"{name}.files"
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self, task: Task) -> tuple[Path, Path]:
        return (
            self._stage / f"{staged_name(task)}.files",
            self._folder(task.box) / f"{task.result_name}.files",
        )

    def _move_files(self, files: Path, place: Path) -> bool:
        """True when the folder of files stands at its place."""
        try:
            rename_noreplace(files, place)
        except FileNotFoundError:
            return True  # moved before a crash
        except FileExistsError:
            return False
        return True

    def _folder(self, box: str) -> Path:
        folder = self._results / box
        if box not in self._boxes:
            folder.mkdir(exist_ok=True)
            self._boxes.add(box)
        return folder
