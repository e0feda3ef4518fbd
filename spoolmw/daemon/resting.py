"""Agents where one launch after the other fails, though they can be reached: they rest for a while.

Without it such an agent, being empty, would be the first to be given every task. It is tried
again by itself; when that fails too, it rests twice as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from spoolmw.agents.contract import AttemptEvent
from spoolmw.daemon.logs import fields, log
from spoolmw.model.attempt import Cause, Lease
from spoolmw.model.events import Lost
from spoolmw.model.ids import AgentName
from spoolmw.rules.placement import Room

MOST_FAILURES = 5  #: in a row; what is given to it at once fails at once
FIRST_S = 2.0  #: a host that was only restarted is soon in use again
LONGEST_S = 300.0


class Resting:
    """Counts the launches that failed, and closes rooms for a while."""

    def __init__(self, rooms: Mapping[AgentName, Room]) -> None:
        self._rooms = rooms
        self._failures: Counter[AgentName] = Counter()
        self._rests: Counter[AgentName] = Counter()  #: in a row
        self._until: dict[AgentName, float] = {}  #: boot-time clock

    def follow(self, event: AttemptEvent, lease: Lease | None, now: float) -> None:
        """Hear what was told of the attempt that holds `lease`."""
        if lease is None:
            return
        if isinstance(event, Lost):
            if event.cause is Cause.LAUNCH:
                self.failed(lease.agent, event.message, now)
        elif self._failures:
            self.worked(lease.agent)

    def failed(self, agent: AgentName, why: str, now: float) -> None:
        """An attempt could not be started there, and the task is innocent."""
        if agent in self._until or agent not in self._rooms:
            return
        self._failures[agent] += 1
        if self._failures[agent] < MOST_FAILURES:
            return
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self._rests[agent], 10))
        self._rests[agent] += 1
        self._failures[agent] = MOST_FAILURES - 1  # one more is enough, when it is tried again
        self._until[agent] = now + pause_s
        text = f"its last {MOST_FAILURES} launches failed, tried again after {pause_s:.0f} s"
        self._rooms[agent].resting = f"{text}: {why}"
        log.warning("agent rests %s", fields(agent=agent, seconds=f"{pause_s:.0f}", why=why))

    def worked(self, agent: AgentName) -> None:
        """An attempt runs there, or somebody says that it can."""
        if agent in self._failures:
            del self._failures[agent]
            del self._rests[agent]
            self._wake(agent)

    def wake(self, now: float) -> None:
        """Those that have rested are tried again."""
        for agent in [each for each, until in self._until.items() if until <= now]:
            self._wake(agent)

    def next_due(self) -> float | None:
        """When the next one has rested (boot-time clock)."""
        return min(self._until.values(), default=None)

    def _wake(self, agent: AgentName) -> None:
        self._until.pop(agent, None)
        self._rooms[agent].resting = ""
