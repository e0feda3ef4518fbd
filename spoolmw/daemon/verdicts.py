"""What the predecessors of a task have come to, as far as can be told by looking."""

from __future__ import annotations

from spoolmw.daemon.finder import Finder
from spoolmw.daemon.table import Table
from spoolmw.daemon.values import Values
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import PredecessorsEnded
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.waiting import culprit, culprits_blame, value_gone, why_waiting


def failed(now: float, ended: Task) -> PredecessorsEnded:
    """`ended`, a predecessor, did not succeed."""
    return PredecessorsEnded(at=now, failed=culprit(ended), blame=culprits_blame(ended))


class Verdicts:
    """Looks at table, journal and kept values; changes nothing but that it may keep a value."""

    def __init__(self, table: Table, finder: Finder, values: Values) -> None:
        self._table = table
        self._finder = finder
        self._values = values

    def looked(
        self, now: float, task: Task, *, passing: bool
    ) -> tuple[PredecessorsEnded | None, bool]:
        """What the predecessors of `task` came to; True: ask again, the journal is behind."""
        bad, is_open, again = None, False, False
        for known in task.predecessors:
            found = self._finder.task(known) if known else None
            if found is None or found.state not in FINAL:
                is_open = True
                again |= found is not None and self._table.get(found.id) is None
            elif found.state is not TaskState.DONE:
                bad = bad or found
        if bad is not None and (is_open or not passing or bad.id in task.spec.takes):
            return failed(now, bad), False
        return (None, again) if is_open else (self.all_done(now, task), False)

    def all_done(self, now: float, task: Task) -> PredecessorsEnded:
        """Its wait is over, if the values that it takes are there. Raises OSError."""
        for taken in task.spec.takes:
            if self._values.has(taken):
                continue
            found = self._finder.task(taken)
            if found is None or not self._values.keep(found):
                text = value_gone(taken, found)
                return PredecessorsEnded(
                    at=now, failed=text, cause=Cause.GONE, blame=Blame.USER
                )
        return PredecessorsEnded(at=now)

    def failed_before(self, task: Task) -> str:
        """The sentence on a predecessor that has failed and was not retried; empty: there is none."""
        for known in task.predecessors:
            found = self._finder.task(known) if known else None
            if found is not None and found.state in FINAL and found.state is not TaskState.DONE:
                return culprit(found)
        return ""

    def why(self, task: Task) -> str:
        """What a task waits for, in one line; empty when it is not for predecessors."""
        if not task.waits:
            return ""
        known = [self._finder.task(each) if each else None for each in task.predecessors]
        return why_waiting(task, known)
