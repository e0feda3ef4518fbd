"""What the daemon asks of the journal besides its hot path: settings, ended tasks, old ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task
from spoolmw.store.journal import Journal
from spoolmw.store.rows import tasks_of
from spoolmw.store.sql import QUERIES

SPAN = 20_000  #: numbers of tasks that one look at ended tasks covers


class Upkeep:
    """Slow questions to an open journal; each is bounded, so that no tick waits long for one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def setting(self, name: str) -> str:
        """What was kept under `name`; empty when nothing was."""
        rows = self._journal.read(QUERIES["get_setting"], (f"setting.{name}",))
        return str(rows[0][0]) if rows else ""

    def keep_setting(self, name: str, value: str) -> None:
        """Keep `value` under `name`, durable when this returns."""
        self._journal.write([(QUERIES["put_meta"], [(f"setting.{name}", value)])])

    def ended_counts(self) -> dict[str, int]:
        """How many tasks ended in each final state."""
        return {
            state: count for state, count in self._journal.read(QUERIES["ended_counts"], ())
        }

    def retryable_with_inputs(self) -> Iterator[Task]:
        """Failed and cancelled tasks that keep input files for a retry."""
        yield from tasks_of(self._journal.read(QUERIES["retryable_with_inputs"], ()))

    def ended_before(self, moment: float, low: int) -> tuple[list[Task], int]:
        """Tasks numbered from `low` that ended before `moment` (wall clock), and where to go on.

        One call looks at SPAN numbers; it goes on at 0 when all were looked at.
        """
        bounds = {"low": low, "high": low + SPAN - 1, "before": moment}
        found = tasks_of(self._journal.read(QUERIES["ended_before"], bounds))
        highest = self._journal.read(QUERIES["highest_seq"], ())[0][0]
        return found, low + SPAN if low + SPAN <= highest else 0

    def forget(self, tasks: Sequence[Task]) -> None:
        """Remove ended tasks and their stories."""
        numbers = [(task.seq,) for task in tasks]
        self._journal.write(
            [(QUERIES["forget_task"], numbers), (QUERIES["forget_story"], numbers)]
        )

    def known(self, ids: Sequence[TaskId]) -> set[TaskId]:
        """Those of `ids` that have a row."""
        query = QUERIES["known_id"]
        return {one for one in ids if self._journal.read(query, (one,))}
