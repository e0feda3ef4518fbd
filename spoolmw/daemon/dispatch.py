"""Finds room for what is ready: capacities and usage in, assignments out."""

from __future__ import annotations

from collections.abc import Mapping

from spoolmw.daemon.table import Table
from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.rules.placement import Room, assign


class Dispatch:
    """Knows each agent's capacity and who is paused; asks the rules who goes where."""

    def __init__(self, capacities: Mapping[AgentName, Capacity]) -> None:
        self.capacity: dict[AgentName, Capacity] = dict(capacities)
        self.paused: dict[AgentName, str] = {}
        self.draining = False

    def rooms(self, table: Table) -> dict[AgentName, Room]:
        """The room of each agent: what it has, what is used of it, and why it takes nothing."""
        return {
            name: self._room(name, capacity, table) for name, capacity in self.capacity.items()
        }

    def _room(self, name: AgentName, capacity: Capacity, table: Table) -> Room:
        used = table.usage(name)
        closed = self.paused.get(name, "")
        if self.draining:
            closed = "the daemon drains: it starts nothing new"
        return Room(
            capacity=capacity,
            used_cpus=used.cpus,
            used_memory_bytes=used.memory_bytes,
            used_gpus=used.gpus,
            attempts=used.attempts,
            closed=closed,
        )

    def assign(self, table: Table, now: float, limit: int) -> list[tuple[TaskId, AgentName]]:
        """Which ready tasks start where, best first, at most `limit`."""
        if not len(table.ready):
            return []
        return assign(table.ready, self.rooms(table), now=now, limit=limit)
