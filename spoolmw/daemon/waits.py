"""Tasks that wait for others, and what becomes of them: predecessors here, twins in `twins`.

Rule: what happens to one is told to those who wait for it, in pieces where they are many; none
of those who wait is ever gone through for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence

from spoolmw.daemon.awaited import Awaited
from spoolmw.daemon.circles import check_no_circle, check_not_itself
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.finder import NOBODY, Finder
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.daemon.twins import Twins
from spoolmw.daemon.values import Values
from spoolmw.daemon.verdicts import Verdicts, failed
from spoolmw.format.ids import is_task_id
from spoolmw.format.taskrecord import SUFFIX
from spoolmw.model.events import Event, PredecessorsEnded, Resolved
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.store.journal import Journal

PIECE = 2048  #: tasks that hear of an end in one tick
LOG_AFTER_S = 10.0  #: until a word that nobody knows is looked for in `done.log`
LOG_EVERY_S = 60.0
RETRY_S = 1.0  #: between two tries to keep a value for which there was no room

Told = tuple[Task, Event]


class Waits:
    """Who waits for whom. Each wait ends with one event, which `events` tells."""

    def __init__(
        self, table: Table, journal: Journal, delivery: Delivery, values: Values, finder: Finder
    ) -> None:
        self.values = values
        self.finder = finder
        self.verdicts = Verdicts(table, finder, values)
        self.again_at = 0.0  #: for lack of room not before
        self._table = table
        self._twins = Twins(journal, delivery)
        self._awaited = Awaited(table)
        self._ended: deque[tuple[Task, deque[TaskId]]] = deque()
        self._arrived: deque[tuple[TaskId, str, deque[TaskId]]] = deque()
        self._look: deque[tuple[TaskId, bool]] = deque()
        self._searched: set[str] = set()
        self._search_at = 0.0

    # -- acceptance ---------------------------------------------------------------------

    def resolve(self, task_id: TaskId, box: str, spec: Spec) -> tuple[TaskId, ...]:
        """Whom `spec.after` of a new task means, as far as is known. BadTaskFile for a circle."""
        if not spec.after:
            if spec.key and self._awaited.unknown:
                self.check(task_id, box, spec, ())
            return ()
        known = tuple([self.finder.find(word, box) for word in spec.after])
        self.check(task_id, box, spec, known)
        return spec.after if known == spec.after else known  # type: ignore[return-value]

    def check(self, task_id: TaskId, box: str, spec: Spec, known: Sequence[TaskId]) -> None:
        """No task may wait for itself, by whatever way round. Raises BadTaskFile."""
        twin = self._table.keys.get(spec.key) if spec.key else None
        check_not_itself(task_id, spec, known)
        check_no_circle(
            spec,
            goals={*known, twin} - {None, NOBODY, task_id},
            waiting=[*self._awaited.by_words(task_id, box, spec), *self._awaited.by(task_id)],
            successors=self._awaited.by,
            task=self._table.get,
        )

    def accepted(self, task: Task) -> None:
        """A new task is in the table: somebody may wait for it, and it for others."""
        self.finder.fresh.append(task)
        if self._awaited.unknown:
            for word, waiting in self._awaited.arrive(task):
                self._arrived.append((task.id, word, deque(waiting)))
        if task.waits:
            self.enter(task)
        if task.twin_of is not None:
            self._twin(task)

    def refused(self, box: str, name: str, why: str) -> None:
        """A file was refused: who waits for the id that is in its name fails, now or later."""
        stem = name.removesuffix(SUFFIX)
        task_id = TaskId(stem[-32:])
        if is_task_id(task_id):
            self.finder.remember_refused(task_id, box, stem[:-33] or stem, f"refused: {why}")
            if waiting := self._awaited.unknown.get(task_id):
                self._arrived.append((task_id, task_id, deque(waiting)))

    def committed(self) -> None:
        """What was accepted is in the journal."""
        if self.finder.fresh:
            self.finder.committed()

    # -- who waits ----------------------------------------------------------------------

    def take_up(self, task: Task) -> None:
        """Enter a task that an earlier daemon, or an earlier life of the task, left waiting."""
        if task.waits:
            for word, known in zip(task.spec.after, task.predecessors, strict=True):
                if known:
                    continue
                found = self.finder.find(word, task.box, but=task.id)
                if found:
                    self._arrived.append((found, word, deque([task.id])))
            self.enter(task)
        if task.twin_of is not None:
            self._twin(task)

    def enter(self, task: Task) -> None:
        """Have the wait of a task end when its predecessors have."""
        if task.id in self._awaited.left:
            return
        left = 0
        look = False
        for word, known in zip(task.spec.after, task.predecessors, strict=True):
            found = self.finder.task(known) if known else None
            if found is None:
                self._not_known(known or word, task.id)
            elif found.state not in FINAL:
                self._awaited.wait(task.id, known)
                self._keep(task, found)
                look |= self._table.get(known) is None
            elif found.state is TaskState.DONE:
                self._keep(task, found)
                continue
            else:
                look = True
            left += 1
        self._awaited.left[task.id] = left
        if look or not left:
            self._look.append((task.id, False))

    def _not_known(self, word: str, task_id: TaskId) -> None:
        if not self._awaited.unknown:
            self._search_at = max(self._search_at, boot_s() + LOG_AFTER_S)
        self._awaited.wait_for_word(task_id, word)

    def _keep(self, task: Task, found: Task) -> None:
        """The value of a predecessor that was delivered, or nearly, may still be there."""
        if found.ending is not None and found.id in task.spec.takes:
            try:
                self.values.keep(found)
            except OSError as error:
                log.warning("value waits %s", fields(task=found.id, why=error))

    def look_again(self, task: Task) -> None:
        """The user released it: with nothing else to wait for, failures are passed over."""
        self._look.append((task.id, True))

    def leave(self, task: Task) -> None:
        """It waits for its predecessors no more."""
        self._awaited.leave(task)

    def _twin(self, twin: Task) -> None:
        """A twin of a task that is done already ends with it."""
        assert twin.twin_of is not None
        if self._table.get(twin.twin_of) is None:
            self._twins.due.append(twin.id)

    # -- what happens -------------------------------------------------------------------

    def ended(self, task: Task) -> None:
        """`task` is FINAL: whoever waits for it will hear of it."""
        if (twins := self._table.twins.pop(task.id, None)) is not None:
            self._twins.due.extend(twins)
        if waiting := self._awaited.end(task.id):
            self._ended.append((task, deque(waiting)))

    def before_delivery(self, now: float, task: Task) -> Iterator[Told]:
        """`task` is about to be published; if as DONE: keep what others need of it. Raises OSError.

        Later would be too late: a consumer may take the result as soon as it is there.
        """
        if task.ending is None or task.ending.state is not TaskState.DONE:
            return
        if task.id in self._table.values:
            self.values.keep_staged(task)
        if twins := self._table.twins.get(task.id):
            yield from self._twins.beside(now, task, self._open(list(twins)))

    def is_kept(self, task: Task) -> bool:
        """Its result is copied for others before it is delivered."""
        return task.id in self._table.values or bool(self._table.twins.get(task.id))

    def is_awaited(self, task_ids: Sequence[TaskId]) -> bool:
        """Somebody waits for one of these."""
        return any(self._awaited.is_awaited(each) for each in task_ids)

    def is_due(self) -> bool:
        """There is something to tell."""
        return bool(self._ended or self._arrived or self._look or self._twins.due)

    def due_at(self) -> float:
        """When it may be told (boot-time clock)."""
        return max(self.again_at, self._twins.again_at if self._twins.due else 0.0)

    def events(self, now: float) -> Iterator[Told]:
        """What became of the waits of some tasks; the caller applies each before the next one."""
        yield from self._twins.ends(now, self._open)
        if now < self.again_at:
            return
        try:
            room = PIECE
            room -= yield from self._tell_arrived(now, room)
            room -= yield from self._tell_ended(now, room)
            yield from self._looked_at(now, room)
            self._search_log(now)
        except OSError as error:
            log.warning("successors wait %s", fields(why=error))
            self.again_at = now + RETRY_S

    def _open(self, ids: Sequence[TaskId]) -> list[Task]:
        return [task for one in ids if (task := self._table.get(one)) is not None]

    def _tell_arrived(self, now: float, room: int) -> Generator[Told, None, int]:
        """Those who waited for a word are told which task it means."""
        told = 0
        while self._arrived and told < room:
            known, word, waiting = self._arrived[0]
            if not waiting:
                self._arrived.popleft()
                continue
            task = self._table.get(waiting.popleft())
            if task is None or not task.waits:
                continue
            told += 1
            self.leave(task)
            yield task, Resolved(at=now, predecessors=_with(task, word, known))
            self._enter_anew(task.id)
        return told

    def _enter_anew(self, task_id: TaskId) -> None:
        task = self._table.get(task_id)
        if task is not None and task.waits:
            self.leave(task)
            self.enter(task)

    def _tell_ended(self, now: float, room: int) -> Generator[Told, None, int]:
        """The successors of a task that ended: one less to wait for, or a reason to fail."""
        told = 0
        while self._ended and told < room:
            ended, waiting = self._ended[0]
            if not waiting:
                self._ended.popleft()
                continue
            told += 1
            task = self._table.get(waiting[0])
            event = None
            if task is not None and task.waits:
                event = self._after_one(now, task, ended)  # may raise: then it stays the first
            waiting.popleft()
            if task is not None and event is not None:
                yield task, event
        return told

    def _after_one(self, now: float, task: Task, ended: Task) -> PredecessorsEnded | None:
        if ended.state is not TaskState.DONE:
            return failed(now, ended)
        left = self._awaited.left.get(task.id, 0)
        event = self.verdicts.all_done(now, task) if left == 1 else None
        self._awaited.left[task.id] = left - 1
        return event

    def _looked_at(self, now: float, room: int) -> Iterator[Told]:
        """Those whose predecessors may all have ended before this was asked."""
        for _ in range(min(len(self._look), max(room, 1))):
            task_id, passing = self._look[0]
            task = self._table.get(task_id)
            event, again = None, False
            if task is not None and task.waits:
                if passing:
                    self._enter_anew(task_id)
                event, again = self.verdicts.looked(now, task, passing=passing)
            self._look.popleft()
            if again:
                self._look.append((task_id, passing))
            elif task is not None and event is not None:
                yield task, event
            else:
                self._enter_anew(task_id)  # some ended before it could be told: count again

    def _search_log(self, now: float) -> None:
        """Words that nobody knows may mean what ended and was pruned long ago."""
        unknown = self._awaited.unknown
        if not unknown or now < self._search_at:
            return
        self._search_at = now + LOG_EVERY_S
        words = unknown.keys() - self._searched
        self._searched = set(unknown)
        if words:
            for word, known in self.finder.search_log(words).items():
                self._arrived.append((known, word, deque(unknown[word])))


def _with(task: Task, word: str, known: TaskId) -> tuple[TaskId, ...]:
    """The predecessors of `task`, now that `word` is known to mean `known`."""
    pairs = zip(task.spec.after, task.predecessors, strict=True)
    return tuple([known if not old and each == word else old for each, old in pairs])
