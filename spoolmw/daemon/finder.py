"""Finds the task that a word of `after` means: by id, else by key, else by name in its box.

Of several with one name the one that was accepted last is meant; a key means what it means
everywhere (the open task with it, else the first that did not fail). What was pruned from the
journal is looked for in `done.log`, which knows ids and keys.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.table import Table
from spoolmw.format.ids import is_task_id, made_before
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.spooldir import donelog
from spoolmw.spooldir.donelog import Done
from spoolmw.store.journal import Journal

NOBODY = TaskId("")
MOST_REFUSED = 10_000  #: refused files that are remembered
MOST_DONE = 1024  #: tasks that were done are remembered, as many may wait for the same ones
LOG_BYTES = 64 << 20  #: of the newest deliveries that are looked through
_STATES = {state.value: state for state in FINAL}


class Finder:
    """Asks the table, what this tick accepted, the journal and the log, in this order."""

    def __init__(self, table: Table, journal: Journal, done_log: Path) -> None:
        self._table = table
        self._journal = journal
        self._done_log = done_log
        self._gone: dict[TaskId, Task] = {}  #: pruned, or refused
        self._done: dict[TaskId, Task] = {}  #: asked for lately; nothing about them will change
        self.fresh: list[Task] = []  #: accepted, but not yet committed
        self._named: dict[tuple[str, str], TaskId] = {}
        self._seen = 0  #: so many of `fresh` are in `_named`

    def find(self, word: str, box: str, *, but: str = "") -> TaskId:
        """The task that `word` means to one in `box`, other than `but`; NOBODY when none is known."""
        if is_task_id(word):
            found: TaskId | None = TaskId(word) if self.task(TaskId(word)) else None
        else:
            found = self._keyed(word) or self._by_name(word, box)
        return NOBODY if found is None or found == but else found

    def task(self, task_id: TaskId) -> Task | None:
        """The task with this id, open or ended; None when nobody knows it.

        One that is neither in the table nor FINAL has ended in this tick: the journal is behind.
        """
        found = self._table.get(task_id) or self._done.get(task_id)
        if found is not None:
            return found
        found = self._journal.get(task_id) or self._gone.get(task_id)
        if found is not None and found.state is TaskState.DONE:
            if len(self._done) >= MOST_DONE:
                self._done.clear()
            self._done[task_id] = found
        return found

    def committed(self) -> None:
        """What was fresh is in the journal now."""
        self.fresh = []
        self._named, self._seen = {}, 0

    def search_log(self, words: Collection[str]) -> dict[str, TaskId]:
        """Which of these ids and keys ended so long ago that only `done.log` knows them."""
        found: dict[str, TaskId] = {}
        for task_id, done in donelog.find(self._done_log, words, most_bytes=LOG_BYTES).items():
            if done.state in _STATES:
                self._gone[task_id] = _remembered(task_id, done)
                found[task_id if task_id in words else done.key] = task_id
        return found

    def remember_refused(self, task_id: TaskId, box: str, name: str, why: str) -> None:
        """A file that has this id in its name was refused: who waits for it need not go on."""
        if len(self._gone) >= MOST_REFUSED:
            self._gone.clear()
        ending = Ending(
            state=TaskState.FAILED, cause=Cause.LAUNCH, blame=Blame.USER, message=why
        )
        self._gone[task_id] = _gone(task_id, box, name, Spec(name=name), ending)

    def _keyed(self, key: str) -> TaskId | None:
        known = self._table.keys.get(key)
        if known is None and (task := self._journal.by_key(key)) is not None:
            known = task.id
        return known

    def _by_name(self, name: str, box: str) -> TaskId | None:
        for task in self.fresh[self._seen :]:
            self._named[task.box, task.spec.name] = task.id
        self._seen = len(self.fresh)
        return self._named.get((box, name)) or self._journal.newest_named(name, box)


def _remembered(task_id: TaskId, done: Done) -> Task:
    """What `done.log` tells of a task that the journal has forgotten."""
    ending = Ending(
        state=_STATES[done.state],
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        message="known from done.log",
        digest=done.digest,
    )
    spec = Spec(name=done.result_name, key=done.key)
    return _gone(task_id, done.box, done.result_name, spec, ending)


def _gone(task_id: TaskId, box: str, name: str, spec: Spec, ending: Ending) -> Task:
    """Stands for a task that no journal has."""
    return Task(
        seq=0,
        id=task_id,
        box=box,
        dropped=name,
        result_name=name,
        spec=spec,
        submitted_at=made_before(task_id, wall_s()),
        state=ending.state,
        ending=ending,
    )
