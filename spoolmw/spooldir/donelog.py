"""Remembers what was delivered in a text file that survives the journal: one line for each task.

A line is `ID STATE KEY DIGEST BOX RESULT_NAME`, in percent-encoding, `-` where there is
nothing. The newest line of a task counts; `retried` says that it is open again. A line that a
crash cut off is ignored, and the next one starts on a line of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.spooldir.publish import publish, write_all

#: The state in the log of a task that ended and was then opened again by its user.
_ID_DIGITS = 32
RETRIED = "retried"
_FIELDS = 6
_UNCODED = re.compile(r"[A-Za-z0-9_.~-]+")  #: what `quote` leaves as it is
_ID_DIGITS = 32


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
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._is_torn = False  #: the last write failed, perhaps in the middle of a line
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


def keep_newest(path: Path, lines: int, *, tmp: Path) -> int:
    """Shorten the log to its newest `lines`; how many went. An open DoneLog must be opened again."""
    try:
        old = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    if len(old) <= lines:
        return 0
    publish(b"".join(old[len(old) - lines :]), path, tmp=tmp, mode=0o600)
    return len(old) - lines
