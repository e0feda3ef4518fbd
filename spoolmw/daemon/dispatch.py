"""Finds room for what is ready: the agents' rooms in, assignments out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from spoolmw.model.agent import Capacity, CapacityChanged
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.placement import Room, assign, memory_limit, why
from spoolmw.rules.ready import ReadyQueue
from spoolmw.store.journal import Journal

PAUSED = "paused by hand"
DRAINING = "the daemon drains (spoolmw-ctl resume undoes it)"


class Dispatch:
    """The room at each agent, who is paused, and whether the daemon starts anything at all."""

    def __init__(self, capacities: Mapping[AgentName, Capacity]) -> None:
        self.rooms = {name: Room(capacity) for name, capacity in capacities.items()}
        self.ready = ReadyQueue()
        self.draining = False
        self.closed_by_hand = ""  #: why files are not taken, set by an administrator

    def changed(self, event: CapacityChanged) -> None:
        """An agent has other room than before."""
        room = self.rooms[event.agent]
        room.capacity = event.capacity
        room.trouble = event.reason

    def is_halted(self) -> bool:
        """Nothing is started until somebody resumes it by hand."""
        return self.draining or all(room.paused for room in self.rooms.values())

    def assign(self, now: float) -> list[tuple[TaskId, AgentName]]:
        """Which ready tasks start where, best first; their room is claimed."""
        self.ready.wake(now)
        if self.draining or not self.ready.ready_count:
            return []
        return assign(self.ready, self.rooms)

    def moved(self, before: Task | None, after: Task, now: float) -> None:
        """Follow a task's change: in and out of the ready queue, and out of its room."""
        if before is not None and before.lease is not None and after.lease is None:
            room = self.rooms.get(before.lease.agent)
            if room is not None:
                room.release(before)
        if after.state is TaskState.QUEUED:
            self.ready.push(after, now)
        elif before is not None and before.state is TaskState.QUEUED:
            self.ready.discard(before)

    def limit(self, memory_bytes: int, agent: AgentName) -> int:
        """The limit of an attempt at `agent` that asks for so much, in bytes; 0: none."""
        room = self.rooms.get(agent)
        return memory_limit(memory_bytes, room) if room is not None else memory_bytes

    def why(self, task: Task, first: Task | None, now: float, *, awaited: str = "") -> str:
        """The one true reason that `task` waits."""
        halted = DRAINING if self.draining else ""
        return why(
            task, self.rooms, self.ready, now=now, halted=halted, first=first, awaited=awaited
        )

    def keep(self, journal: Journal) -> None:
        """Remember what an administrator set by hand: a restart must not undo it."""
        paused = [name for name, room in self.rooms.items() if room.paused]
        kept = {"paused": paused, "draining": self.draining, "intake": self.closed_by_hand}
        journal.set_meta("dispatch", json.dumps(kept))

    def load(self, journal: Journal) -> None:
        """Take up what `keep` kept; agents that are configured no more are left out."""
        kept = json.loads(journal.get_meta("dispatch") or "{}")
        for name, room in self.rooms.items():
            room.paused = PAUSED if name in kept.get("paused", ()) else ""
        self.draining = bool(kept.get("draining"))
        self.closed_by_hand = str(kept.get("intake", ""))
