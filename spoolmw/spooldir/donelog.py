"""Remembers what was delivered in a text file that survives the journal: one line for each task.

A line is `ID STATE KEY DIGEST BOX RESULT_NAME`, in percent-encoding, `-` where there is
nothing. The newest line of a task counts; `retried` says that it is open again. A line that a
crash cut off is ignored, and the next one starts on a line of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.spooldir.publish import sync_folder, write_all

#: The state in the log of a task that ended and was then opened again by its user.
RETRIED = "retried"
_FIELDS = 6
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_UNCODED = re.compile(r"[A-Za-z0-9_.~-]+")  #: what `quote` leaves as it is
_ID_DIGITS = 32
_PIECE_BYTES = 256 << 10  #: of the oldest lines, looked at in one go
_WORTH_BYTES = 1 << 20  #: less is not cut off: what stays is written anew for it
_WORTH_SHARE = 4  #: nor is less than this part of all


class Done(NamedTuple):
    """What the log tells of one task."""

    key: str
    digest: str  #: of the result; empty where the daemon wrote it
    state: str  #: "done", "failed", "cancelled" or RETRIED
    box: str
    result_name: str


class DoneLog:
    """The log at `path`, open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, _FLAGS, 0o600)
        self._is_torn = False  #: the last write failed, perhaps in the middle of a line
        self._over = 0  #: bytes of the oldest lines that nobody needs any more
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            write_all(self._fd, b"\n")

    def append(self, tasks: Sequence[Task]) -> None:
        """Add a line for each task, in one write; the tick's sync makes it durable.

        Of a task with an ending its state there is told, of any other that it is open again.
        """
        if not tasks:
            return
        begin = "\n" if self._is_torn else ""
        self._is_torn = True
        write_all(self._fd, (begin + "".join(map(_line, tasks))).encode("ascii"))
        self._is_torn = False

    def shorten(self, over: Callable[[list[TaskId]], Collection[TaskId]], *, half: Path) -> int:
        """Look at a piece of the oldest lines, up to the first that stays; how many bytes went.

        `over` says of which of these tasks nobody needs the line. They are cut off when there are
        enough of them that it pays; what stays is first written to `half`, on the same disk.
        Raises OSError; the log is then as it was.
        """
        piece = os.pread(self._fd, _PIECE_BYTES, self._over)
        lines = piece[: piece.rfind(b"\n") + 1].splitlines(keepends=True)
        entries = [_entry(line.decode("ascii", "replace")) for line in lines]
        gone = over([entry[0] for entry in entries if entry is not None])
        for line, entry in zip(lines, entries, strict=True):
            if entry is not None and entry[0] not in gone:
                break
            self._over += len(line)
        size = os.fstat(self._fd).st_size
        if self._over < max(_WORTH_BYTES, size // _WORTH_SHARE):
            return 0
        self._cut(half)
        cut, self._over = self._over, 0
        return cut

    def _cut(self, half: Path) -> None:
        """Put what stays in the place of all; whoever reads has one or the other."""
        with open(self.path, "rb") as old, open(half, "wb") as new:
            os.fchmod(new.fileno(), 0o600)
            old.seek(self._over)
            shutil.copyfileobj(old, new, _PIECE_BYTES)
            new.flush()
            os.fsync(new.fileno())
        fresh = os.open(half, _FLAGS)
        try:
            os.rename(half, self.path)
        except BaseException:
            os.close(fresh)
            raise
        os.close(self._fd)
        self._fd = fresh
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Nothing is appended any more."""
        os.close(self._fd)


def _line(task: Task) -> str:
    ending = task.ending
    state = RETRIED if ending is None else ending.state._value_
    digest = "" if ending is None else ending.digest
    return (
        f"{task.id} {state} {_coded(task.spec.key)} {digest or '-'} "
        f"{_coded(task.box)} {_coded(task.result_name)}\n"
    )


def _coded(text: str) -> str:
    if not text or text == "-":
        return "%2D" if text else "-"
    return text if _UNCODED.fullmatch(text) else quote(text, safe="")


def _decoded(text: str) -> str:
    return "" if text == "-" else unquote(text)


def read(path: Path) -> dict[TaskId, Done]:
    """Every task in the log, by its newest line; an absent log is an empty one."""
    if not path.exists():
        return {}
    with open(path, encoding="ascii", errors="replace", newline="\n") as lines:
        return dict(entry for line in lines if (entry := _entry(line)) is not None)


def _entry(line: str) -> tuple[TaskId, Done] | None:
    words = line.removesuffix("\n").split(" ")
    if len(words) != _FIELDS or len(words[0]) != _ID_DIGITS or line[-1] != "\n":
        return None
    task_id, state, key, digest, box, result_name = words
    done = Done(_decoded(key), _decoded(digest), state, _decoded(box), _decoded(result_name))
    return TaskId(task_id), done


def newest_states(
    path: Path, ids: Collection[str], *, most_bytes: int = 1 << 62
) -> dict[TaskId, str]:
    """The newest state that the log's last `most_bytes` tell of each of `ids`; for long logs."""
    states: dict[TaskId, str] = {}
    if not ids:
        return states
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            for line in file:
                task_id = line[:_ID_DIGITS].decode("ascii", "replace")
                if task_id in ids and line[-1:] == b"\n" and line.count(b" ") == _FIELDS - 1:
                    state = line[_ID_DIGITS + 1 :].split(b" ", 1)[0]
                    states[TaskId(task_id)] = state.decode("ascii", "replace")
    except FileNotFoundError:
        pass
    return states


def find(path: Path, words: Collection[str], *, most_bytes: int) -> dict[TaskId, Done]:
    """The tasks whose id or key is among `words`, as the newest lines within `most_bytes` tell."""
    found: dict[TaskId, Done] = {}
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            for raw in file:
                entry = _entry(raw.decode("ascii", "replace"))
                if entry is not None and (entry[0] in words or entry[1].key in words):
                    found[entry[0]] = entry[1]
    except FileNotFoundError:
        pass
    return found
