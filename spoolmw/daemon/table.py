"""The open tasks in memory, with the indexes that the reactor needs. Holds what the journal holds, no more.

Rule: `put` is the only way in, so no index can disagree with the tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.spooldir.inputs import digests_of
from spoolmw.spooldir.layout import Layout


class Table:
    """Every task that is not final, by id, name, key and state."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, Task] = {}
        self.names: dict[tuple[str, str], TaskId] = {}
        self.keys: dict[str, TaskId] = {}
        self.twins: dict[TaskId, set[TaskId]] = {}
        self.inputs: Counter[str] = Counter()
        self.values: Counter[TaskId] = (
            Counter()
        )  #: whose values others take, and how many of them
        self.states: Counter[TaskState] = Counter()
        self.elements: dict[TaskId, dict[TaskId, None]] = {}  #: of each open array, in order
        self.open_elements = 0  #: of all arrays
        self.growing: dict[TaskId, None] = {}  #: arrays of which more is to become tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks.values())

    def get(self, task_id: TaskId) -> Task | None:
        return self.tasks.get(task_id)

    def put(self, before: Task | None, after: Task) -> None:
        """Replace `before` (None: a new task) by `after`; a final task leaves the table."""
        if before is not None and before.state in FINAL and after.state in FINAL:
            return  # it has left already
        self._states(before, after)
        if before is None:
            self.hold_inputs(after)
            self._enter(after)
        elif before.state in FINAL:
            self._enter(after)
        elif before.result_name != after.result_name:
            self._rename(before, after)
        if before is not None and before.twin_of is not None and after.twin_of is None:
            self._part(before, before.twin_of)
        if after.tally is not None:
            self._grow(after)
        if after.state in FINAL:
            self._leave(after)
        else:
            self.tasks[after.id] = after

    def _grow(self, array: Task) -> None:
        tally = array.tally
        assert tally is not None
        if array.state is TaskState.EXPANDING and (tally.unmade or tally.again >= 0):
            self.growing[array.id] = None
        else:
            self.growing.pop(array.id, None)

    def _states(self, before: Task | None, after: Task) -> None:
        old = before.state if before is not None else None
        new = after.state
        if old is not None and old not in FINAL:
            self.states[old] -= 1
        if new not in FINAL:
            self.states[new] += 1

    def _enter(self, task: Task) -> None:
        self.names[task.box, task.result_name] = task.id
        if task.spec.key:
            self.keys[task.spec.key] = task.id  # the newest: the next one waits for it
        if task.twin_of is not None:
            self.twins.setdefault(task.twin_of, set()).add(task.id)
        if task.element is not None:
            self.elements.setdefault(task.element.array, {})[task.id] = None
            self.open_elements += 1
        elif task.tally is not None:
            self.elements.setdefault(task.id, {})

    def hold_inputs(self, task: Task) -> None:
        """Count what `task` needs, files and values: of open tasks, and ended ones that may be retried.

        An array counts for all its elements.
        """
        if task.element is not None:
            return
        for digest in digests_of(task.spec):
            self.inputs[digest] += 1
        for taken in task.spec.takes:
            self.values[taken] += 1

    def drop_inputs(self, task: Task) -> None:
        """`task` needs its inputs no more: it is done, or pruned."""
        if task.element is not None:
            return
        for digest in digests_of(task.spec):
            self.inputs[digest] -= 1
            if self.inputs[digest] <= 0:
                del self.inputs[digest]
        for taken in task.spec.takes:
            self.values[taken] -= 1
            if self.values[taken] <= 0:
                del self.values[taken]

    def unneeded(self, task: Task, layout: Layout) -> Iterator[str]:
        """The inputs and values of `task` that no other task needs, as paths."""
        if task.element is not None:
            return
        for digest in digests_of(task.spec):
            if digest not in self.inputs:
                yield f"{layout.inputs}/{digest}"
        for taken in task.spec.takes:
            if taken not in self.values:
                yield f"{layout.values}/{taken}"

    def _rename(self, before: Task, after: Task) -> None:
        self.names.pop((before.box, before.result_name), None)
        self.names[after.box, after.result_name] = after.id

    def _part(self, twin: Task, first: TaskId) -> None:
        """`twin` waits for `first` no more."""
        siblings = self.twins.get(first)
        if siblings is not None:
            siblings.discard(twin.id)
            if not siblings:
                del self.twins[first]

    def _leave(self, task: Task) -> None:
        self.tasks.pop(task.id, None)
        self.names.pop((task.box, task.result_name), None)
        if task.spec.key and self.keys.get(task.spec.key) == task.id:
            del self.keys[task.spec.key]
        if task.element is not None:
            self.elements.get(task.element.array, {}).pop(task.id, None)
            self.open_elements -= 1
        elif task.tally is not None:
            self.elements.pop(task.id, None)
        if task.state is TaskState.DONE:
            self.drop_inputs(task)
