"""Hears what agents tell of attempts: makes it fit for the rules, and keeps how far each one is.

Rule: progress is kept in memory only, for the attempt that runs, and ends with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spoolmw.agents.contract import AttemptEvent
from spoolmw.daemon import attempts
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.model.attempt import Cause
from spoolmw.model.events import Checkpointed, Lost, Progressed, Reported, Resumed, Started
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task


class Progress(NamedTuple):
    """How far a running attempt said that it is."""

    fraction: float  #: from 0 to 1
    text: str
    at: float  #: wall clock


class Hearing:
    """Stands between the agents and the rules."""

    def __init__(self, delivery: Delivery, missing: Callable[[Task], str]) -> None:
        self._delivery = delivery
        self._missing = missing
        self._progress: dict[TaskId, Progress] = {}

    def fit(
        self, event: AttemptEvent, task: Task
    ) -> Started | Resumed | Checkpointed | Reported | Lost | None:
        """The event as the rules take it; None when there is nothing to decide."""
        if isinstance(event, Progressed):
            if task.lease is not None and event.attempt == task.attempt_id:
                self._progress[task.id] = Progress(event.fraction, event.text, wall_s())
            return None
        if not isinstance(event, Reported | Lost):
            return event
        event = attempts.checked(event, self._delivery)
        if event.cause is Cause.LAUNCH:
            return attempts.launch_failed(event, task, self._missing(task))
        return event

    def moved(self, before: Task, after: Task) -> None:
        """Follow a task's change: the progress of an attempt that ended means nothing more."""
        if before.lease is not None and after.lease is None:
            self._progress.pop(after.id, None)

    def progress(self, task_id: TaskId) -> Progress | None:
        """How far the running attempt of this task is; None: it did not say, or none runs."""
        return self._progress.get(task_id)

    def told(self) -> dict[TaskId, Progress]:
        """All that is known of running attempts."""
        return dict(self._progress)
