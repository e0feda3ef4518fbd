"""Remembers what was delivered in a text file that survives the journal: one line for each task.

A line is `ID STATE DIGEST KEY BOX NAME`, in percent-encoding, `-` where there is none: STATE is
done, failed, cancelled, or retried (it ended, and its user had it run once more); NAME is the
result's. The newest line of an id counts. A line that a crash cut off is ignored, and the next
one starts on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.spooldir.publish import publish, write_all

RETRIED = "retried"  #: the state of a task that is open again


class Done(NamedTuple):
    """What the log tells of one delivered task. `digest` is empty where the daemon wrote the result."""

    key: str
    digest: str
    state: str
    box: str
    result_name: str


class DoneLog:
    """The log at `path`, open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            write_all(self._fd, b"\n")

    def append(self, tasks: Sequence[Task]) -> None:
        """Add a line for each delivered task, in one write; the tick's sync makes it durable."""
        if tasks:
            write_all(self._fd, "".join(map(_line, tasks)).encode("ascii"))

    def close(self) -> None:
        """Nothing is appended any more."""
        os.close(self._fd)


def _line(task: Task) -> str:
    ending = task.ending
    state = ending.state.value if ending is not None else RETRIED
    digest = ending.digest if ending is not None else ""
    words = (state, digest, task.spec.key, task.box, task.result_name)
    return f"{task.id} {' '.join([quote(word, safe='') or '-' for word in words])}\n"


def read(path: Path) -> dict[TaskId, Done]:
    """Every task in the log, the newest line of each; an absent log is an empty one."""
    try:
        text = path.read_text("ascii", "replace")
    except FileNotFoundError:
        return {}
    done: dict[TaskId, Done] = {}
    for line in text.split("\n")[:-1]:
        words = line.split(" ")
        if len(words) == 6 and len(words[0]) == 32:
            state, digest, key, box, name = ("" if w == "-" else unquote(w) for w in words[1:])
            done[TaskId(words[0])] = Done(key, digest, state, box, name)
    return done


def keep_newest(path: Path, lines: int, *, tmp: Path) -> int:
    """Shorten the log to its newest `lines`; the number of lines that went. Open logs must be reopened."""
    try:
        old = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    if len(old) <= lines:
        return 0
    publish(b"".join(old[len(old) - lines :]), path, tmp=tmp, mode=0o600)
    return len(old) - lines
