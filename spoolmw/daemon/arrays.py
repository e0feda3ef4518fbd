"""Turns arrays into tasks bit by bit, and counts how these end.

Rule 1: what an array's tally says is committed with the elements that it speaks of: both are in
the batch of one tick, so after a crash no element is missing and none is made twice.
Rule 2: only a window of elements exists as tasks at one time; the arrays that are open share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.intake import Intake
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.reopening import Hands, open_again
from spoolmw.daemon.table import Table
from spoolmw.format.arrays import (
    element_id,
    element_name,
    element_position,
    element_spec,
    index_at,
    indexes_from,
)
from spoolmw.format.ids import new_task_id
from spoolmw.model.events import Advanced, Cancelled, Event, Held, Released, Reprioritised
from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Element, Tally, Task, TaskState
from spoolmw.rules.array import is_over
from spoolmw.spooldir.lines import line_at, read_lines
from spoolmw.store.journal import Journal

AT_ONCE = 1024  #: elements made, or taken up again, in one tick
RETRY_S = 1.0  #: between two tries to take elements up again
LEAST = 16  #: elements of each array, also where others fill the window and do not move

_COUNTED = (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(slots=True)
class _News:
    """What this tick adds to the tally of one array."""

    made: int = 0
    early: int = 0
    offset: int | None = None
    ended: Counter[TaskState] = field(default_factory=Counter)
    again: int | None = None
    broken: str = ""

    def event(self, now: float) -> Advanced:
        done, failed, cancelled = (self.ended[state] for state in _COUNTED)
        return Advanced(
            at=now,
            made=self.made,
            early=self.early,
            offset=self.offset,
            done=done,
            failed=failed,
            cancelled=cancelled,
            again=self.again,
            broken=self.broken,
        )


class Arrays:
    """Makes elements, takes up again those that are to be retried, and keeps the tallies."""

    def __init__(self, table: Table, journal: Journal, intake: Intake, *, window: int) -> None:
        self._table = table
        self._journal = journal
        self._intake = intake
        self._news: dict[TaskId, _News] = {}
        self._not_before = 0.0  #: boot-time clock; after a write that found no room
        self.window = window

    # -- the tallies ----------------------------------------------------------------------

    def ended(self, element: Task) -> None:
        """An element stands in a final state now."""
        self._count(element, 1)

    def moved(self, task: Task) -> None:
        """An array whose elements all ended while it could not hear of it owes its end.

        So it is when the journal was lost after the last of them, and before that end was told.
        """
        if task.state is TaskState.EXPANDING and task.tally and is_over(task.tally):
            self._of(task.id)

    def reopened(self, element: Task) -> None:
        """An element left the final state in which `element` has it."""
        self._count(element, -1)

    def _count(self, element: Task, by: int) -> None:
        assert element.element is not None
        self._of(element.element.array).ended[element.state] += by

    def _of(self, array: TaskId) -> _News:
        return self._news.setdefault(array, _News())

    # -- making elements ------------------------------------------------------------------

    def has_room(self) -> bool:
        """More elements could be made, or taken up again, at once."""
        growing = self._table.growing
        return bool(growing) and boot_s() >= self._not_before and self._any_room()

    def _any_room(self) -> bool:
        return any(self._room(array) > 0 for array in self._growing())

    def unmade(self) -> int:
        """Elements of open arrays that are still to become tasks."""
        tallies = (array.tally for array in self._open())
        return sum(tally.unmade for tally in tallies if tally is not None)

    def turn(self, hands: Hands, now: float, *, grow: bool) -> None:
        """What this tick makes of arrays: more tasks, where they may `grow`, and their tallies.

        Comes after everything in a tick that may end an element or name one.
        """
        if grow:
            for element in self._expand():
                hands.enter(element)
            self._open_again(hands, now)
        self.settle(hands, now)

    def settle(self, hands: Hands, now: float) -> None:
        """Have the tallies say what was made and what ended so far in this tick."""
        if self._news:
            for array, event in self._advances(now):
                hands.apply(array, event)

    def _expand(self) -> Iterator[Task]:
        """New elements, as far as there is room; each array has its share of it."""
        left = AT_ONCE
        for array in self._growing():
            if (room := min(self._room(array), left)) > 0 and _unmade(array):
                for element in self._make(array, room):
                    left -= 1
                    yield element

    def _open_again(self, hands: Hands, now: float) -> None:
        """Ended elements that a retry of their array takes up again."""
        for array in self._growing():
            tally = array.tally
            if tally is None or tally.again < 0 or (room := self._room(array)) <= 0:
                continue
            found = self._journal.elements.to_retry(
                array.id, tally.again, cancelled=tally.again_all, limit=min(room, AT_ONCE)
            )
            ended = [task for task in found if self._table.get(task.id) is None]
            named = [(each, self._intake.names.choose_again(each)) for each in ended]
            try:
                open_again(hands, self._intake, named, fresh=tally.again_fresh)
            except OSError as error:
                log.warning("a retry waits %s", fields(task=array.id, why=error))
                self._not_before = now + RETRY_S
                return
            last = found[-1].element if found else None
            self._of(array.id).again = last.position + 1 if last is not None else -1

    def _advances(self, now: float) -> list[tuple[Task, Advanced]]:
        """What this tick's elements mean for their arrays."""
        news, self._news = self._news, {}
        return [
            (array, each.event(now))
            for array_id, each in news.items()
            if (array := self._table.get(array_id)) is not None
        ]

    def _open(self) -> Iterator[Task]:
        return (self._table.tasks[array] for array in self._table.elements)

    def _growing(self) -> list[Task]:
        return [self._table.tasks[array] for array in self._table.growing]

    def _room(self, array: Task) -> int:
        """How many more of its elements may be tasks: its share, if the window is not full.

        None before a quarter of the share is free: few large commits cost less than many small.
        """
        table = self._table
        mine = len(table.elements[array.id])
        share = self.window // len(table.growing)
        room = max(min(share - mine, self.window - table.open_elements), LEAST - mine)
        return room if room >= max(share, LEAST) // 4 else 0

    def _make(self, array: Task, number: int) -> Iterator[Task]:
        """The next `number` elements; fewer where somebody named one before its turn."""
        assert array.tally is not None
        start = array.tally.made
        number = min(number, array.tally.total - start)
        ids = [element_id(array.id, start + each) for each in range(number)]
        owners = self._journal.elements.owners(ids)
        news = self._of(array.id)
        try:
            for task_id, element in zip(ids, self._elements(array, number), strict=True):
                news.made += 1
                if (task := self._table.get(task_id)) is not None:
                    owners[task_id] = task.element.array if task.element else None
                if owners.get(task_id) == array.id:
                    news.early -= 1
                    continue
                # An id that somebody else gave to a task of his own is his.
                yield self._task(
                    array, element, task_id if task_id not in owners else new_task_id()
                )
        except OSError as error:
            log.error("array stops %s", fields(task=array.id, why=error))
            news.broken = f"its file cannot be read any more: {error.strerror or error}"

    def _elements(self, array: Task, number: int) -> Iterator[Element]:
        """The next `number` elements as their array has them. Raises OSError."""
        spec, tally = array.spec.array, array.tally
        assert spec is not None
        assert tally is not None
        indexes = islice(indexes_from(spec, tally.made), number)
        if spec.file is None:
            for position, index in enumerate(indexes, tally.made):
                yield Element(array.id, position, index)
            return
        news = self._of(array.id)
        lines = read_lines(self._intake.layout.inputs / spec.file.digest, tally.offset)
        for position, (index, line) in enumerate(zip(indexes, lines, strict=False), tally.made):
            news.offset = line.next_offset
            yield Element(array.id, position, index, line.text)

    def _task(self, array: Task, element: Element, task_id: TaskId) -> Task:
        assert array.tally is not None
        base = array.tally.name or array.result_name
        result_name = element_name(base, element.index)
        # A name with the array's id in it is nobody else's: the helper's are such.
        if array.id not in base and self._intake.names.is_taken(array.box, result_name):
            result_name = f"{result_name}.{task_id}"
        task = Task(
            seq=self._intake.next_number(),
            id=task_id,
            box=array.box,
            dropped=array.dropped,
            result_name=result_name,
            spec=element_spec(array.spec, element.index),
            body_sha256=array.body_sha256,
            submitted_at=array.submitted_at,
            priority=array.priority,
            memory_bytes=array.spec.resources.memory_bytes,
            element=element,
        )
        return saved.taken_up(self._intake.layout, task) if array.tally.adopted else task

    # -- one element by name, and all of them ----------------------------------------------

    def named(self, task_id: TaskId) -> tuple[Task, int] | None:
        """The open array and the position that an element's id tells of; it may not be made yet."""
        for array in self._open():
            position = element_position(array.id, task_id)
            if array.tally and position is not None and position < array.tally.total:
                return array, position
        return None

    def make_early(self, task_id: TaskId) -> Task | None:
        """Make an element whose turn has not come; None where that cannot be. Raises OSError."""
        found = self.named(task_id)
        if found is None:
            return None
        array, position = found
        tally, spec = array.tally, array.spec.array
        news = self._news.get(array.id) or _News()  # nothing is told where nothing is made
        may = array.state in (TaskState.EXPANDING, TaskState.HELD) and array.twin_of is None
        if not may or tally is None or spec is None or position < tally.made + news.made:
            return None
        if tally.unmade - news.made - news.early <= 0 or self._journal.elements.owners(
            [task_id]
        ):
            return None
        line = None
        if spec.file is not None:
            line = line_at(self._intake.layout.inputs / spec.file.digest, position)
        self._of(array.id).early += 1
        element = Element(array.id, position, index_at(spec, position), line)
        return self._task(array, element, task_id)

    def concerned(self, array: Task, event: Event) -> Sequence[Task]:
        """The open elements for which `event`, of their array, is meant too."""
        if not isinstance(event, Cancelled | Held | Released | Reprioritised):
            return ()
        ids = self._table.elements.get(array.id, ())
        tasks = [task for one in ids if (task := self._table.get(one)) is not None]
        return [task for task in tasks if task.state is not TaskState.DELIVERING]


def found_again(task: Task, counts: dict[TaskState, int]) -> Task:
    """An array whose file was adopted, with the elements that a rebuilt journal knows of."""
    if task.tally is None:
        return task
    ended = {state: counts.get(state, 0) for state in FINAL}
    tally = Tally(
        total=task.tally.total,
        early=sum(counts.values()),
        done=ended[TaskState.DONE],
        failed=ended[TaskState.FAILED],
        cancelled=ended[TaskState.CANCELLED],
        adopted=True,
    )
    return replace(task, tally=tally)


def _unmade(array: Task) -> bool:
    return array.tally is not None and array.tally.unmade > 0
