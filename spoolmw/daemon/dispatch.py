"""Finds room for what is ready: the agents' rooms in, assignments out.

Rule: of a task with redundancy each replica is a claim of its own, and waits on its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TypeGuard

from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.deadlines import Deadlines
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.resting import Resting
from spoolmw.model.agent import Capacity, CapacityChanged
from spoolmw.model.host import HostRecord
from spoolmw.model.ids import AgentName
from spoolmw.model.replica import Ballot, Replica
from spoolmw.model.task import Task, TaskState
from spoolmw.rules import trust
from spoolmw.rules.placement import Given, Room, assign, memory_limit
from spoolmw.rules.ready import ReadyQueue
from spoolmw.rules.why import why
from spoolmw.store.journal import Journal

PAUSED = "paused by hand"
DRAINING = "the daemon drains (spoolmw-ctl resume undoes it)"


class Dispatch:
    """The room at each agent, who is paused, and whether the daemon starts anything at all."""

    def __init__(self, capacities: Mapping[AgentName, Capacity]) -> None:
        self.rooms = {name: Room(capacity) for name, capacity in capacities.items()}
        self.resting = Resting(self.rooms)
        self.ready = ReadyQueue()
        self.deadlines = Deadlines()
        self.hosts: Mapping[str, HostRecord] = {}  #: what is known of each machine, by its id
        self._looked_at = (
            0.0  #: boot-time clock, of the turn in which hosts were looked at last
        )
        self._shunned: dict[bool, tuple[str, ...]] = {}  #: names, for replicas and for others
        self._lost_at: dict[AgentName, float] = {}  #: boot-time clock; those in trouble
        self.draining = False
        self.closed_by_hand = ""  #: why files are not taken, set by an administrator

    def changed(self, event: CapacityChanged) -> None:
        """An agent has other room than before; that it is lost, or there again, is told once."""
        room = self.rooms[event.agent]
        if event.reason and not room.trouble:
            self._lost_at[event.agent] = boot_s()
            log.warning("agent lost %s", fields(agent=event.agent, why=event.reason))
        elif room.trouble and not event.reason:
            away_s = boot_s() - self._lost_at.pop(event.agent)
            log.info("agent back %s", fields(agent=event.agent, after_s=f"{away_s:.1f}"))
        room.capacity = event.capacity
        room.trouble = event.reason

    def is_halted(self) -> bool:
        """Nothing is started until somebody resumes it by hand."""
        return self.draining or all(room.paused for room in self.rooms.values())

    def assign(self, now: float, wall: float) -> list[Given]:
        """Which ready tasks start where, best first; their room is claimed.

        A replica is the last one: when it is placed, ask again.
        """
        self.ready.wake(now)
        self.resting.wake(now)
        if self.draining or not self.ready.ready_count:
            return []
        if self.hosts and (now != self._looked_at or self._probes()):
            self._looked_at = now  # between two placements of one turn nothing else changes
            self.look_at_hosts(wall)
        return assign(self.ready, self.rooms)

    def look_at_hosts(self, wall: float) -> None:
        """Bar the rooms whose hosts are paused; one that is due for a probe gets one replica.

        What chooses among hosts by itself is told which ones are paused; there a probe is any
        replica that happens to come to one that is due.
        """
        paused = [each for each in self.hosts.values() if each.paused and each.name]
        undue = (e for e in paused if not (trust.is_probe(e) and trust.may_work(e, wall)))
        self._shunned = {
            False: tuple(sorted(each.name for each in paused)),
            True: tuple(sorted(each.name for each in undue)),
        }
        for room in self.rooms.values():
            record = self.hosts.get(room.capacity.machine)
            room.barred = f"its host is paused: {record.paused}" if _is_paused(record) else ""
            room.probes = (
                record is not None
                and trust.is_probe(record)
                and trust.may_work(record, wall)
                and not self._replicas_at(record.machine)
            )

    def _probes(self) -> bool:
        return any(room.probes for room in self.rooms.values())

    def _replicas_at(self, machine: str) -> int:
        rooms = self.rooms.values()
        return sum(room.replicas for room in rooms if room.capacity.machine == machine)

    def moved(self, before: Task | None, after: Task, now: float) -> None:
        """Follow a task's change: in and out of the ready queue, and out of its room."""
        if after.ballot is not None:
            self._follow_vote(before, after, after.ballot, now)
            return
        if before is not None and before.lease is not None and after.lease is None:
            room = self.rooms.get(before.lease.agent)
            if room is not None:
                room.release(before.spec.resources, before.memory_bytes)
        if after.state is TaskState.QUEUED:
            self.ready.push(after, now)
        elif before is not None and before.state is TaskState.QUEUED:
            self.ready.discard(before)

    def _follow_vote(
        self, before: Task | None, after: Task, ballot: Ballot, now: float
    ) -> None:
        old = before.ballot.replicas if before is not None and before.ballot is not None else ()
        for was, now_is in zip_longest(old, ballot.replicas):
            if was is now_is:
                continue
            self.deadlines.follow(was, now_is)
            if was is not None and was.lease is not None and not _still_holds(was, now_is):
                room = self.rooms.get(was.lease.agent)
                if room is not None:
                    room.release(after.spec.resources, was.memory_bytes, replica=True)
        self.ready.replicas.put(after, now)

    def take_up(self, task: Task, now: float) -> None:
        """Enter a task that the journal knows: what its attempts hold is claimed."""
        self.moved(None, task, now)
        held = [(task.lease, task.memory_bytes, False)]
        if task.ballot is not None:
            held = [(each.lease, each.memory_bytes, True) for each in task.ballot.replicas]
        for lease, memory_bytes, replica in held:
            room = self.rooms.get(lease.agent) if lease is not None else None
            if room is not None:
                room.claim(task.spec.resources, memory_bytes, replica=replica)

    def dues(self) -> Iterator[float]:
        """When something begins or is over without anybody's doing (boot-time clock)."""
        for due in (self.ready.next_due(), self.deadlines.next_due(), self.resting.next_due()):
            if due is not None:
                yield due

    def limit(self, memory_bytes: int, agent: AgentName) -> int:
        """The limit of an attempt at `agent` that asks for so much, in bytes; 0: none."""
        room = self.rooms.get(agent)
        return memory_limit(memory_bytes, room) if room is not None else memory_bytes

    def shunned(self, agent: AgentName, *, replica: bool) -> tuple[str, ...]:
        """The hosts that are paused, for an agent that is no host and chooses one itself."""
        room = self.rooms.get(agent)
        if room is None or room.capacity.machine or room.capacity.host:
            return ()
        return self._shunned.get(replica, ())

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


def _still_holds(before: Replica, after: Replica | None) -> bool:
    """Whether a replica's lease is still that of the same attempt."""
    return after is not None and after.lease is not None and after.attempt == before.attempt


def _is_paused(record: HostRecord | None) -> TypeGuard[HostRecord]:
    return record is not None and bool(record.paused)
