"""Results of replicas that come when their task is done already: they tell something of their host.

Nothing is computed for that: equal digests in the headers are equal values, and in the `safe`
codec other digests are other values. Where neither can be said, where the delivered result has
been taken away, or where a writer is not trusted, nothing is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.gear import Gear
from spoolmw.errors import BadResultFile
from spoolmw.format.resultfile import read_head
from spoolmw.model.events import ComparedLate, Event, Reported
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.replica import Verdict
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.ballot import staged_results
from spoolmw.rules.history import is_trusted
from spoolmw.rules.redundant import may_come_late

Apply = Callable[[Task, Event], Task]


class Latecomers:
    """Takes reports of tasks that have left the table. Used by the reactor's thread alone."""

    def __init__(self, gear: Gear, newest: Callable[[TaskId], Task | None]) -> None:
        """`newest` has a task as the batch at hand leaves it, which the journal does not know yet."""
        self._journal = gear.journal
        self._delivery = gear.delivery
        self._newest = newest

    def take(self, report: Reported, apply: Apply) -> None:
        """Mark the host by what it returned, where that can be told; an unwanted file goes."""
        name = report.attempt.task
        task = self._newest(name) or self._journal.get(name)
        if task is not None and task.state is TaskState.DONE:
            verdict = self._verdict(task, report)
            if verdict is not None:
                apply(task, ComparedLate(at=boot_s(), report=report, verdict=verdict))
        if task is None or report.attempt not in _kept(task):
            self._delivery.discard(str(report.attempt))

    def _verdict(self, task: Task, report: Reported) -> Verdict | None:
        ballot, came = task.ballot, report.attempt
        if not may_come_late(task, report):
            return None
        assert ballot is not None
        assert ballot.canonical is not None
        best = ballot.replicas[ballot.canonical]
        assert best.staged is not None
        late = ballot.replicas[came.replica]
        if not (
            is_trusted(best.history, best.staged.attempt)
            and is_trusted(late.history, came.attempt)
        ):
            return None
        try:
            delivered = read_head(self._delivery.delivered_path(task))
            came_late = read_head(self._delivery.staged_path(came))
        except (OSError, BadResultFile):
            return None
        if delivered.get("task") != task.id:
            return None  # its consumer took it away, and another task has its name
        return compared(delivered, came_late, exactly=ballot.wish.validator.kind == "exact")


def _kept(task: Task) -> tuple[AttemptId, ...]:
    """What lies in `stage/` for somebody who may yet decide a vote that was given up."""
    if task.ballot is None or task.state is TaskState.DONE:
        return ()
    return staged_results(task.ballot)


def compared(
    delivered: Mapping[str, Any], late: Mapping[str, Any], *, exactly: bool
) -> Verdict | None:
    """What the headers of two results of one task tell; None: nothing, somebody would have to look."""
    digests = [each.get("sha256") for each in (delivered, late)]
    codecs = [each.get("codec") for each in (delivered, late)]
    if not all(digests) or late.get("outcome") != "success" or codecs[0] != codecs[1]:
        return None
    if digests[0] == digests[1]:
        return Verdict.VALID
    return Verdict.INVALID if exactly and codecs == ["safe", "safe"] else None
