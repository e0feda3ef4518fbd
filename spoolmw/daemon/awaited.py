"""The index of who waits for whom: by the id of a predecessor, or by a word that nobody knows yet.

Holds only what the waiting tasks say themselves, so a start makes it anew from them. A task
that waits costs one entry for each predecessor, and no time while nothing happens to those.
"""

from __future__ import annotations

from collections.abc import Iterator

from spoolmw.daemon.table import Table
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Task

Waiting = dict[TaskId, None]
"""Tasks that wait, first come first."""


class Awaited:
    """`left` counts, for each task that waits, the predecessors that were not seen to succeed."""

    def __init__(self, table: Table) -> None:
        self.left: dict[TaskId, int] = {}
        self.unknown: dict[str, Waiting] = {}
        self._known: dict[TaskId, Waiting] = {}
        self._table = table

    def is_awaited(self, task_id: TaskId) -> bool:
        """Somebody waits for this task as such."""
        return task_id in self._known

    def by(self, task_id: TaskId) -> list[TaskId]:
        """The open tasks that wait for this one, its twins among them."""
        return [*self._known.get(task_id, ()), *self._table.twins.get(task_id, ())]

    def by_words(self, task_id: TaskId, box: str, spec: Spec) -> Iterator[TaskId]:
        """Who waits for a task that is just arriving."""
        for word in {task_id, spec.key, spec.name} & self.unknown.keys():
            yield from self._meant(word, task_id, box, spec)

    def _meant(self, word: str, task_id: TaskId, box: str, spec: Spec) -> list[TaskId]:
        """Those who wait for `word` and mean this task: a name means one in the same box only."""
        waiting = self.unknown[word]
        if word in (task_id, spec.key):
            return list(waiting)
        return [each for each in waiting if self._box(each) == box]

    def _box(self, task_id: TaskId) -> str | None:
        task = self._table.get(task_id)
        return None if task is None else task.box

    def wait(self, task_id: TaskId, known: TaskId) -> None:
        """A task waits for this one."""
        self._known.setdefault(known, {})[task_id] = None

    def wait_for_word(self, task_id: TaskId, word: str) -> None:
        """A task waits for somebody whom nobody knows yet."""
        self.unknown.setdefault(word, {})[task_id] = None

    def arrive(self, task: Task) -> list[tuple[str, list[TaskId]]]:
        """Those who wait for this task by a word wait for it as such from now on; who, by which."""
        found = []
        for word in {task.id, task.spec.key, task.spec.name} & self.unknown.keys():
            meant = self._meant(word, task.id, task.box, task.spec)
            for each in meant:
                self._drop(self.unknown, word, each)
                self.wait(each, task.id)
            if meant:
                found.append((word, meant))
        return found

    def end(self, task_id: TaskId) -> list[TaskId]:
        """This task ended: nobody waits for it any more; who did."""
        return list(self._known.pop(task_id, ()))

    def leave(self, task: Task) -> None:
        """`task` waits for its predecessors no more."""
        self.left.pop(task.id, None)
        for word, known in zip(task.spec.after, task.predecessors, strict=True):
            if known:
                self._drop(self._known, known, task.id)
            self._drop(self.unknown, known or word, task.id)

    @staticmethod
    def _drop(index: dict[str, Waiting] | dict[TaskId, Waiting], key: str, one: TaskId) -> None:
        waiting = index.get(key)  # type: ignore[call-overload]
        if waiting is not None:
            waiting.pop(one, None)
            if not waiting:
                del index[key]  # type: ignore[arg-type]
