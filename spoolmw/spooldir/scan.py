"""Reads the names in `incoming/` and its boxes, bounded in memory and fair between boxes.

One pass goes over every folder in turns. Each folder's entries are read through one kept
iterator, a window of names at a time; within a window the helper's names go by the time in
their ids, so that what was submitted first is accepted first.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from spoolmw.format.names import box_problem, escape

#: Names held of one folder at a time.
WINDOW = 16_384
#: Names that a folder gives in one turn at least while others wait.
QUANTUM = 32
#: Beginnings and endings of names that are nobody's task (yet).
IGNORED_END = (".part", ".tmp", "~")
INPUTS_END = ".in"
#: An empty box is not read again until its modification time changes; a time that is younger
#: than this may stay the same for the next file too (the kernel's clock is coarse).
YOUNG_NS = 100_000_000
_ID_SLICE = slice(-37, -5)  # of NAME-ID.task
_NOT_THERE = (FileNotFoundError, NotADirectoryError, PermissionError)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Turn(NamedTuple):
    """Some names of one folder. `fd` is open until the next turn."""

    box: str
    box_problem: str
    folder: str
    fd: int
    files: list[str]
    odd: list[str]  #: entries that are neither files nor boxes nor input folders


class _Folder:
    """One folder on its pass."""

    def __init__(self, path: str, box: str) -> None:
        self.path = path
        self.box = box
        self.problem = box_problem(box) if box else ""
        self.odd: list[str] = []
        self.found_boxes: list[str] = []
        self.mtime_ns = 0
        self.is_empty = True
        self._entries: Iterator[os.DirEntry[str]] | None = None
        self._names: list[str] = []  # the next one is the last
        self._read_all = False

    def open(self) -> int:
        """A descriptor of the folder; its modification time is noted before anything is read."""
        fd = os.open(self.path, _FOLDER)
        if self.is_empty:
            self.mtime_ns = os.fstat(fd).st_mtime_ns
        return fd

    def some(self, fd: int, count: int) -> list[str]:
        """The next names, at most `count`; empty when the pass over this folder is done."""
        while not self._names and not self._read_all:
            self._read_window(fd)
        names = self._names[-count:][::-1]
        del self._names[-count:]
        return names

    def _read_window(self, fd: int) -> None:
        if self._entries is None:
            self._entries = os.scandir(fd)
        names = self._names
        for entry in self._entries:
            name = entry.name
            if name[0] == "." or name.endswith(IGNORED_END):
                continue
            if entry.is_file(follow_symlinks=False):
                names.append(name)
                if len(names) >= WINDOW:
                    break
            elif not entry.is_dir(follow_symlinks=False):
                self.odd.append(name)
            elif not name.endswith(INPUTS_END):
                (self.odd if self.box else self.found_boxes).append(name)
        else:
            self._read_all = True
            self._entries = None
        self.is_empty = self.is_empty and not names and not self.odd
        names.sort(key=_order, reverse=True)


def _order(name: str) -> str:
    return name[_ID_SLICE] if len(name) > 37 and name.endswith(".task") else name


class Scan:
    """Passes over `incoming/`; one folder's turn after the other."""

    def __init__(self, incoming: str) -> None:
        self._incoming = incoming
        self._boxes: set[str] = set()
        self._empty: dict[str, int] = {}  # their modification times
        self._waiting: deque[_Folder] = deque()
        self._fd = -1
        self._unreadable: set[str] = set()
        self.notices: list[str] = []  #: folders that cannot be read, each told once

    def begin(self) -> None:
        """Start a new pass; the boxes known from the last one take part from its beginning."""
        self._waiting.clear()
        self._waiting.append(_Folder(self._incoming, ""))
        for box in sorted(self._boxes):
            if not self._is_still_empty(box):
                self._waiting.append(self._box(box))

    def turn(self, count: int) -> Turn | None:
        """The next folder's next names, at most `count`; None when the pass is complete.

        OSError when the machine is short of descriptors or the disk fails; the pass goes on after it.
        """
        self.close()
        while self._waiting:
            folder = self._waiting.popleft()
            try:
                self._fd = fd = folder.open()
            except _NOT_THERE as error:
                self._note_unreadable(folder, error)
                continue
            share = max(QUANTUM, count // (len(self._waiting) + 1))
            names = folder.some(fd, min(count, share))
            odd, folder.odd = folder.odd, []
            self._enter(folder)
            if names:
                self._waiting.append(folder)
            elif folder.box and folder.is_empty:
                self._note_empty(folder)
            if names or odd:
                return Turn(folder.box, folder.problem, folder.path, fd, names, odd)
            self.close()
        return None

    def close(self) -> None:
        """Give back the descriptor of the last turn."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _note_unreadable(self, folder: _Folder, error: OSError) -> None:
        """A box that was removed is no news; what is closed to us, or no folder, is told once."""
        self._boxes.discard(folder.box)
        if folder.box and isinstance(error, FileNotFoundError):
            self._unreadable.discard(folder.box)
        elif folder.box not in self._unreadable:
            self._unreadable.add(folder.box)
            self.notices.append(f"cannot read {escape(folder.path)}: {error.strerror}")

    def _enter(self, root: _Folder) -> None:
        """Boxes that this pass found join it."""
        for box in root.found_boxes:
            if box not in self._boxes:
                self._boxes.add(box)
                self._waiting.append(self._box(box))
        root.found_boxes.clear()

    def _note_empty(self, folder: _Folder) -> None:
        if 0 < folder.mtime_ns < time.time_ns() - YOUNG_NS:
            self._empty[folder.box] = folder.mtime_ns

    def _is_still_empty(self, box: str) -> bool:
        known = self._empty.get(box)
        if known is None:
            return False
        try:
            if os.stat(f"{self._incoming}/{box}").st_mtime_ns == known:
                return True
        except OSError:
            pass  # the turn finds out
        del self._empty[box]
        return False

    def _box(self, box: str) -> _Folder:
        return _Folder(f"{self._incoming}/{box}", box)
