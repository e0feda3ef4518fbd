"""Has tasks that ended run once more, each with a name of its own for its next result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.intake import Intake
from spoolmw.model.events import Event, Retried
from spoolmw.model.task import Task


class Hands(Protocol):
    """What the reactor does for those who decide beside it."""

    def apply(self, task: Task, event: Event) -> Task:
        """Change a task by an event."""

    def enter(self, task: Task) -> None:
        """Take a new task into the table and the batch."""

    def sync_first(self) -> None:
        """What was written beside the journal must be durable before the next commit."""


def open_again(
    hands: Hands,
    intake: Intake,
    ended: Sequence[tuple[Task, str]],
    *,
    by: str = "",
    elements: str = "all",
    fresh: bool = False,
) -> list[Task]:
    """Open ended tasks, given with the names for their next results. Raises OSError.

    First the log of deliveries is told: without these lines the next start would be refused.
    """
    if not ended:
        return []
    intake.note_retried(*(replace(task, result_name=name) for task, name in ended))
    hands.sync_first()
    now = boot_s()
    return [
        hands.apply(
            task, Retried(at=now, result_name=name, by=by, elements=elements, fresh=fresh)
        )
        for task, name in ended
    ]
