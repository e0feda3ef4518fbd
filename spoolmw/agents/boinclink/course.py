"""How far the work at hand is: which tasks came since there was none, and which of them are through.

It is for the project's page, so it is counted in memory only: a link that begins anew knows what
its daemon still waits for, and nothing of what was done before.
"""

from __future__ import annotations

from typing import NamedTuple

_MOST = 200_000  #: tasks that are told apart; beyond, the count begins anew


class Progress(NamedTuple):
    """Numbers of tasks."""

    done: int
    all: int


class Course:
    """Tasks are known by their attempts, which are named `TASK.REPLICA.NUMBER`."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}  #: by task, how many of its attempts are at hand
        self._done: set[str] = set()

    def begins(self, attempt: str) -> None:
        """An attempt came."""
        task = attempt.partition(".")[0]
        if not self._open or len(self._done) >= _MOST:
            self._done.clear()
        self._done.discard(task)
        self._open[task] = self._open.get(task, 0) + 1

    def ends(self, attempt: str) -> None:
        """The daemon waits for it no more."""
        task = attempt.partition(".")[0]
        left = self._open.pop(task, 0) - 1
        if left > 0:
            self._open[task] = left
        else:
            self._done.add(task)

    def progress(self) -> Progress | None:
        """None where nothing came yet."""
        done = len(self._done)
        return Progress(done, done + len(self._open)) if done or self._open else None
