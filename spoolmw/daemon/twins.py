"""Drops with one key: each waits for the one before it and gets a copy of its result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from spoolmw.daemon.deliver import Copied, Delivery
from spoolmw.daemon.logs import fields, log
from spoolmw.format.resultfile import daemon_body
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import TwinEnded
from spoolmw.model.ids import TaskId
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.store.journal import Journal

RETRY_S = 1.0  #: between two tries of a copy for which there was no room


class Twins:
    """Those whose first has ended: each is to end too, or to run itself."""

    def __init__(self, journal: Journal, delivery: Delivery) -> None:
        self._journal = journal
        self._delivery = delivery
        self.due: list[TaskId] = []
        self.again_at = 0.0  #: for lack of room not before

    def ends(
        self, now: float, still_open: Callable[[Sequence[TaskId]], list[Task]]
    ) -> Iterator[tuple[Task, TwinEnded]]:
        """What becomes of those that are due; for lack of room some wait on."""
        if now < self.again_at:
            return
        due, self.due = self.due, []
        for twin in still_open(due):
            if twin.twin_of is None:
                continue
            first = self._journal.get(twin.twin_of) or _forgotten(twin)
            if first.state not in FINAL:
                self.due.append(twin.id)  # its end is decided, but not yet committed
                continue
            try:
                yield twin, self._ended(now, twin, first)
            except OSError as error:
                log.warning("twin waits %s", fields(task=twin.id, why=error))
                self.due.append(twin.id)
                self.again_at = now + RETRY_S

    def beside(
        self, now: float, first: Task, waiting: Sequence[Task]
    ) -> Iterator[tuple[Task, TwinEnded]]:
        """If `first` is about to be delivered as DONE: its staged result is copied for each twin.

        Later would be too late: a consumer may take the result as soon as it is published.
        Raises OSError when there is no room for the copy.
        """
        if first.ending is not None and first.ending.state is TaskState.DONE:
            for twin in waiting:
                yield twin, _event(now, first, self._delivery.copy_staged(first, twin))

    def _ended(self, now: float, twin: Task, first: Task) -> TwinEnded:
        """`first` ended before: its delivered result is copied if nobody took it. Raises OSError."""
        if first.state is not TaskState.DONE:
            return _event(now, first, None)
        return _event(now, first, self._delivery.copy_delivered(first, twin))


def _forgotten(twin: Task) -> Task:
    """Stands for a first task that was pruned: as if it had failed, so that `twin` runs itself."""
    assert twin.twin_of is not None
    ending = Ending(state=TaskState.FAILED, cause=Cause.GONE, blame=Blame.NONE)
    return replace(twin, id=twin.twin_of, state=TaskState.FAILED, ending=ending, twin_of=None)


def _event(now: float, first: Task, copied: Copied | None) -> TwinEnded:
    if copied is None:
        return TwinEnded(
            at=now, first=first, copied=False, body_bytes=0, digest="", files=False
        )
    digest = first.ending.digest if first.ending is not None else ""
    if not digest:  # of an array: the daemon wrote it
        digest = hashlib.sha256(daemon_body(first)).hexdigest()
    return TwinEnded(
        at=now,
        first=first,
        copied=True,
        body_bytes=copied.body_bytes,
        digest=digest,
        files=copied.files,
        trusted=copied.trusted,
    )
