"""What one tick changed and what is owed for it once it is committed.

Rule: a batch lives until it is committed. When the disk is full it stays, takes up what the
next ticks change, and none of its effects is performed before. That an array advanced is no
fact of its story: its elements have stories of their own.

A mark for a host is no effect to be performed: it is in the host's record, which the same commit
writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.hosts import Hosts
from spoolmw.model.effects import Deliver, Effect, Score
from spoolmw.model.events import Advanced, Event, Reported
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.task import Task
from spoolmw.store.journal import Changed, Journal


class Batch:
    """The first `before`, the last `after` and all events of each task that changed."""

    def __init__(self, hosts: Hosts, *, needs_sync: bool = False) -> None:
        self._hosts = hosts
        self._changed: dict[TaskId, Changed] = {}
        self.effects: list[Effect] = []
        self.needs_sync = (
            needs_sync  #: much was written beside the journal, or nobody knows what
        )
        self.staged: list[str] = []  #: the files in `stage/` that it delivers
        self.released: dict[AgentName, list[AttemptId]] = {}

    def __bool__(self) -> bool:
        return bool(self._changed or self.effects or self.released or self._hosts.is_changed())

    def note(
        self, before: Task | None, event: Event, after: Task, effects: Sequence[Effect]
    ) -> None:
        """Add one transition and the effects that it orders."""
        events = (event,) if type(event) is not Advanced or event.broken else ()
        known = self._changed.get(after.id)
        if known is None:
            self._changed[after.id] = Changed(before, after, events)
        else:
            self._changed[after.id] = Changed(known[0], after, known[2] + events)
        self.add(effects, of_vote=after.ballot is not None)
        if after.ballot is not None and type(event) is Reported:
            self.needs_sync = True  # what it staged waits there to be compared

    def newest(self, task_id: TaskId) -> Task | None:
        """The task as this batch leaves it; None: it does not change it."""
        changed = self._changed.get(task_id)
        return changed[1] if changed is not None else None

    def add(self, effects: Sequence[Effect], *, of_vote: bool = True) -> None:
        """Take up what is to be done; a vote may also order marks for hosts."""
        if not of_vote:
            self.effects.extend(effects)
            return
        for effect in effects:
            if isinstance(effect, Score):
                self._hosts.score(effect, wall_s())
            else:
                self.effects.append(effect)

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

    def commit(self, journal: Journal, *, now_boot: float, boot_id: str) -> None:
        """Write what changed, tasks and hosts, if anything did. Raises what the journal raises."""
        hosts = self._hosts.changed()
        if not (self._changed or hosts):
            return
        changes = list(self._changed.values())
        journal.commit(changes, now_boot=now_boot, boot_id=boot_id, hosts=hosts)
        self._hosts.committed()
