"""Hears what agents tell: makes it fit for the rules, and keeps how far each attempt is.

Rule: progress is kept in memory only, for the attempts that run, and ends with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoolmw.agents.contract import AgentEvent, AttemptEvent
from spoolmw.daemon import attempts
from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.latecomers import Latecomers
from spoolmw.daemon.table import Table
from spoolmw.daemon.validating import Validating
from spoolmw.model.agent import CapacityChanged, Validated
from spoolmw.model.attempt import Cause
from spoolmw.model.events import (
    Checkpointed,
    Event,
    Lost,
    Progressed,
    Reported,
    Resumed,
    Started,
)
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.task import Task

Apply = Callable[[Task, Event], Task]


class Progress(NamedTuple):
    """How far a running attempt said that it is."""

    fraction: float  #: from 0 to 1
    text: str
    at: float  #: wall clock


class Hearing:
    """Stands between the agents and the rules."""

    def __init__(
        self,
        delivery: Delivery,
        missing: Callable[[Task], str],
        table: Table,
        dispatch: Dispatch,
        validating: Validating,
        latecomers: Latecomers,
    ) -> None:
        self._delivery = delivery
        self._missing = missing
        self._table = table
        self._dispatch = dispatch
        self._validating = validating
        self._latecomers = latecomers
        self._progress: dict[TaskId, dict[AttemptId, Progress]] = {}

    def take(self, events: Sequence[AgentEvent], apply: Apply) -> int:
        """Decide what follows from what an agent tells; how many attempts ended."""
        ended = 0
        for event in events:
            if isinstance(event, CapacityChanged):
                self._dispatch.changed(event)
            elif isinstance(event, Validated):
                self.answered(event.attempt.task, self._validating.heard(event), apply)
            else:
                ended += self._take_one(event, apply)
        return ended

    def _take_one(self, told: AttemptEvent, apply: Apply) -> bool:
        task = self._table.get(told.attempt.task)
        if task is None:  # of a task that ended meanwhile: late
            if isinstance(told, Reported):
                self._latecomers.take(told, apply)
            return False
        event = self.fit(told, task)
        if event is None:
            return False
        self._dispatch.resting.follow(event, attempts.lease_of(task, event.attempt), boot_s())
        after = apply(task, event)
        if not isinstance(event, Reported | Lost):
            return False
        if event.cause is not Cause.FINISHED:
            attempts.tell(after, event)
        return True

    def answers(self, apply: Apply) -> None:
        """Take up what validations came to that needed no agent."""
        for task_id, answer in self._validating.take_answers():
            self.answered(task_id, answer, apply)

    def answered(self, task_id: TaskId, answer: Event, apply: Apply) -> None:
        """A validation came to something; of a task that ended meanwhile it is late."""
        task = self._table.get(task_id)
        if task is not None and task.ballot is not None:
            apply(task, answer)

    def fit(
        self, event: AttemptEvent, task: Task
    ) -> Started | Resumed | Checkpointed | Reported | Lost | None:
        """The event as the rules take it; None when there is nothing to decide."""
        if isinstance(event, Progressed):
            if attempts.runs(task, event.attempt):
                told = Progress(event.fraction, event.text, wall_s())
                self._progress.setdefault(task.id, {})[event.attempt] = told
            return None
        if not isinstance(event, Reported | Lost):
            return event
        event = attempts.checked(event, self._delivery)
        if event.cause is Cause.LAUNCH:
            return attempts.launch_failed(event, task, self._missing(task))
        return event

    def moved(self, before: Task, after: Task) -> None:
        """Follow a task's change: the progress of an attempt that ended means nothing more."""
        if not self._progress or before.id not in self._progress:
            return
        told = self._progress[before.id]
        for attempt in [each for each in told if not attempts.runs(after, each)]:
            del told[attempt]
        if not told:
            del self._progress[before.id]

    def progress(self, task_id: TaskId) -> Progress | None:
        """How far the running attempt of this task is; None: it did not say, or none runs.

        Of several replicas it is the one that is furthest.
        """
        told = self._progress.get(task_id)
        return max(told.values()) if told else None

    def told(self) -> dict[TaskId, Progress]:
        """All that is known of running attempts."""
        return {task_id: max(told.values()) for task_id, told in self._progress.items()}
