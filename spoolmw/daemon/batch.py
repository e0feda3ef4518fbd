"""What one tick changed and what is owed for it once it is committed.

Rule: a batch lives until it is committed. When the disk is full it stays, takes up what the
next ticks change, and none of its effects is performed before. That an array advanced is no
fact of its story: its elements have stories of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoolmw.model.effects import Deliver, Effect
from spoolmw.model.events import Advanced, Event
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.task import Task
from spoolmw.store.journal import Changed


class Batch:
    """The first `before`, the last `after` and all events of each task that changed."""

    def __init__(self) -> None:
        self._changed: dict[TaskId, tuple[Task | None, Task, tuple[Event, ...]]] = {}
        self.effects: list[Effect] = []
        self.needs_sync = False  #: much was written beside the journal, or nobody knows what
        self.staged: list[str] = []  #: the files in `stage/` that it delivers
        self.released: dict[AgentName, list[AttemptId]] = {}

    def __bool__(self) -> bool:
        return bool(self._changed or self.effects or self.released)

    def __len__(self) -> int:
        return len(self._changed)

    def note(
        self, before: Task | None, event: Event, after: Task, effects: Sequence[Effect]
    ) -> None:
        """Add one transition and the effects that it orders."""
        events = (event,) if type(event) is not Advanced or event.broken else ()
        known = self._changed.get(after.id)
        if known is None:
            self._changed[after.id] = (before, after, events)
        else:
            self._changed[after.id] = (known[0], after, known[2] + events)
        self.effects.extend(effects)

    def deliveries(self) -> Iterator[Deliver]:
        """The deliveries it orders; meanwhile others may be added, and the last one withdrawn."""
        place = 0
        while place < len(self.effects):
            effect = self.effects[place]
            if isinstance(effect, Deliver):
                yield effect
            if place < len(self.effects) and self.effects[place] is effect:
                place += 1

    def withdraw(self, delivery: Deliver) -> None:
        """Do not publish this: its staged file was damaged. The task stays DELIVERING, to be seen."""
        self.effects[:] = [effect for effect in self.effects if effect is not delivery]

    def release(self, agent: AgentName, attempt: AttemptId) -> None:
        """Once this batch is committed the agent need not keep its copy of the report."""
        self.released.setdefault(agent, []).append(attempt)

    def changes(self) -> list[Changed]:
        """One `Changed` for each task, as the journal takes them."""
        return [Changed(*change) for change in self._changed.values()]
