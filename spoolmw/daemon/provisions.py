"""What a drop brings beside its own file: its input files, and the file of an array.

All of it is taken by content at acceptance, once, however many elements an array has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spoolmw.daemon import claims
from spoolmw.daemon.claims import Place
from spoolmw.errors import BadTaskFile
from spoolmw.format.names import escape
from spoolmw.format.redundancy import missing_program
from spoolmw.format.taskfile import TaskFile
from spoolmw.model.spec import Array, Input, Spec
from spoolmw.model.task import Task
from spoolmw.spooldir import inputs as input_files
from spoolmw.spooldir.inputs import digests_of
from spoolmw.spooldir.layout import Layout, active_of
from spoolmw.spooldir.lines import count_lines
from spoolmw.spooldir.publish import claim


class Provisions:
    """Takes the files of drops, and knows whether those of a task are still there."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.allow_path: Callable[[Path], bool] = lambda _path: False
        self.max_elements = 0  #: of one array

    def take(self, place: Place, parsed: TaskFile) -> Spec:
        """The spec with its inputs by content; what was taken before (a canonical file) stays.

        Raises BadTaskFile.
        """
        spec = self._taken(place, parsed)
        if program := missing_program(spec):
            raise BadTaskFile(
                f"{escape(place.dropped)} was refused: [redundancy] validator.",
                why=f"its inputs have no {escape(program)}, which is to compare the results",
                fix=f"put {escape(program)} into the task's inputs",
            )
        return spec

    def _taken(self, place: Place, parsed: TaskFile) -> Spec:
        spec = parsed.spec
        asked, array = spec.files.inputs, spec.array
        file = array.file if array is not None else None
        if all(item.digest for item in (*asked, *((file,) if file else ()))) and (
            asked or file
        ):
            return spec
        if not asked and not file and not (spec.run.command or spec.run.script):
            return spec
        folder = self._folder(place)
        if not asked and not file and not folder.exists():
            return spec
        wanted = [item.name for item in asked]
        found = input_files.take(
            self._layout,
            folder,
            [*wanted, *([file.name] if file and file.name not in wanted else [])],
            called=f"{place.dropped}.in",
            allow_path=self.allow_path,
        )
        if array is not None and file is not None:
            array, found = self._array(file, wanted, found)
        if found == asked and array is spec.array:
            return spec
        return replace(spec, files=replace(spec.files, inputs=found), array=array)

    def _array(
        self, file: Input, wanted: list[str], found: tuple[Input, ...]
    ) -> tuple[Array, tuple[Input, ...]]:
        """The array of the lines of `file`, which is no input unless somebody wants it as one."""
        name = file.name if not file.name.startswith("/") else Path(file.name).name
        taken = next(item for item in found if item.name == name)
        lines = count_lines(self._layout.inputs / taken.digest, name)
        claims.check_elements(lines, self.max_elements)
        if file.name not in wanted:
            found = tuple(item for item in found if item is not taken)
        taken = Input(name, taken.digest, taken.size_bytes)
        return Array(ranges=((1, lines, 1),), file=taken), found

    def _folder(self, place: Place) -> Path:
        """The folder `NAME.in` of a drop, claimed; it need not exist."""
        mine = self._layout.tmp / f"{place.id}.in"
        if not mine.exists():
            theirs = self._layout.incoming / place.box / f"{place.dropped}.in"
            try:
                claim(theirs, mine)
            except PermissionError:
                return theirs  # another user's: its files are copied from where they are
        return mine

    def settle(self, task: Task) -> None:
        """The task is committed: the claimed folder of its inputs may go."""
        if task.spec.files.inputs or task.spec.array is not None:
            shutil.rmtree(self._layout.tmp / f"{task.id}.in", ignore_errors=True)

    def has_file(self, task: Task) -> bool:
        """A task's own file is still there to be run again."""
        return (self._layout.active / active_of(task)).exists()

    def missing(self, task: Task) -> str:
        """The file that an accepted task needs and that is gone; empty when all are there."""
        if not self.has_file(task):
            return f"active/{active_of(task)}"
        names = {item.digest: item.name for item in task.spec.files.inputs}
        for digest in digests_of(task.spec):
            if not (self._layout.inputs / digest).exists():
                name = names.get(digest, "of the array")
                return f"the input file {name} (inputs/{digest})"
        return ""
