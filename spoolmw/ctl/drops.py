"""What lies in `incoming/` and `rejected/`: the tasks that the journal does not know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from spoolmw.ctl.reader import Reader, reader_of
from spoolmw.format.ids import is_task_id
from spoolmw.spooldir.layout import Layout

#: Names that are not looked at by the daemon either.
_UNFINISHED = (".part", ".tmp", "~", ".in")
#: Length of `-ID.task`, the end of a name that the helper gives.
_ID_LENGTH = 32
#: Files in `incoming/` whose modes are looked at.
MOST_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that is no task (yet): it waits to be taken, or it was refused."""

    box: str
    name: str
    path: Path
    refused: bool
    reason: str = ""  #: of a refused one: what stands beside it
    closed_to: str = ""  #: the daemon's user, when he may not read it

    @property
    def task_id(self) -> str:
        """The id in the name of a file that the helper or `submit` wrote; else empty."""
        stem = self.name.removesuffix(".task")
        candidate = stem[-_ID_LENGTH:]
        return candidate if stem != self.name and is_task_id(candidate) else ""

    @property
    def called(self) -> str:
        """The name that its submitter knows: that of the file, without an id in it."""
        stem = self.name.removesuffix(".task")
        return stem[: -_ID_LENGTH - 1] if self.task_id and len(stem) > _ID_LENGTH else stem

    @property
    def changed_at(self) -> float:
        """When the file came to where it is (wall clock); 0 when it is gone."""
        try:
            return self.path.stat(follow_symlinks=False).st_ctime
        except OSError:
            return 0.0

    @property
    def text(self) -> str:
        """Where it stands, one sentence."""
        if self.refused:
            first = self.reason.strip().splitlines()
            return f"It was refused: {first[0]}" if first else "It was refused."
        if self.closed_to:
            return f"Its file lies in incoming/, and the daemon's user ({self.closed_to}) may not read it."
        return "Its file lies in incoming/ and was not taken yet."

    @property
    def fix(self) -> str:
        """What to do about it."""
        if self.refused:
            return f"Read {self.path}.reason, mend the file and drop it again."
        if self.closed_to:
            return (
                f"chown {self.closed_to} {quote(str(self.path))}; a member of [intake] group: chmod g+r."
                " It is looked at again within a minute."
            )
        return "Is the daemon running, and does it take files? spoolmw-ctl status"

    def as_read_by(self, reader: Reader) -> Dropped:
        """The same with what hinders the daemon, where it waits and he may not read it."""
        if self.refused or reader.may_read(self.path):
            return self
        return replace(self, closed_to=reader.name)

    def with_reason(self) -> Dropped:
        """The same with the text beside it read, where it was refused."""
        if not self.refused:
            return self
        try:
            reason = self.path.with_name(self.name + ".reason").read_text("utf-8", "replace")
        except OSError:
            reason = ""
        return replace(self, reason=reason)


def waiting(layout: Layout, limit: int = 1_000_000) -> Iterator[Dropped]:
    """Files in `incoming/` and its boxes that the daemon will take, in no order."""
    yield from _files(layout.incoming, refused=False, limit=limit)


def count_waiting(layout: Layout, limit: int = 1_000_000) -> int:
    """How many files wait in `incoming/`."""
    return sum(1 for _ in waiting(layout, limit))


def refused(layout: Layout, limit: int = 1_000_000) -> Iterator[Dropped]:
    """Files in `rejected/` that were refused, in no order."""
    yield from _files(layout.rejected, refused=True, limit=limit)


def find_dropped(layout: Layout, word: str) -> Dropped | None:
    """The file that `word` names: an id, a file's name, BOX/NAME, or the name of a task in it.

    Refused ones come last; of several tasks of one name the newest is meant.
    """
    found = _find(layout, word)
    return found and found.with_reason().as_read_by(reader_of(layout))


def closed(layout: Layout) -> list[Dropped]:
    """Those of the first files in `incoming/` that the daemon may not read."""
    reader = reader_of(layout)
    files = (file.as_read_by(reader) for file in waiting(layout, MOST_LOOKED_AT))
    return [file for file in files if file.closed_to]


def _find(layout: Layout, word: str) -> Dropped | None:
    for files in (waiting(layout), refused(layout)):
        newest: Dropped | None = None
        for file in files:
            if word in (file.name, f"{file.box}/{file.name}", file.name.removesuffix(".task")):
                return file
            if file.task_id and file.task_id == word:
                return file
            if file.called == word and (newest is None or file.task_id > newest.task_id):
                newest = file
        if newest is not None:
            return newest
    return None


def _files(folder: Path, *, refused: bool, limit: int) -> Iterator[Dropped]:
    left = limit
    for box, inside in _folders(folder):
        try:
            entries = os.scandir(inside)
        except OSError:
            continue
        with entries:
            for entry in entries:
                if left and _is_drop(entry, refused=refused):
                    left -= 1
                    yield Dropped(box, entry.name, Path(entry.path), refused=refused)


def _folders(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "", folder
    try:
        entries = os.scandir(folder)
    except OSError:
        return
    with entries:
        boxes = [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            and not entry.name.endswith(".in")
            and not entry.name.startswith(".")
        ]
    for box in sorted(boxes):
        yield box, folder / box


def _is_drop(entry: os.DirEntry[str], *, refused: bool) -> bool:
    name = entry.name
    if name.startswith(".") or entry.is_dir(follow_symlinks=False):
        return False
    return not (name.endswith(".reason") if refused else name.endswith(_UNFINISHED))
