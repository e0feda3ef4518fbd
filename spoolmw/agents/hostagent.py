"""What agents with a runner share, wherever the runner is: the ledger, and its words as events.

Rule 1: what is told to the runner, and what the ledger says of it, change together, under one lock.
Rule 2: the sink is called without the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.ledger import Ledger
from spoolmw.errors import AgentError
from spoolmw.model.agent import Capacity, CapacityChanged, Launch, Sighting
from spoolmw.model.ids import AgentName, AttemptId


class HostAgent:
    """The half of an agent that does not know where its runner is. `_tell` is the other half's."""

    judges: bool

    def __init__(self, name: AgentName, sink: Sink, ledger: Ledger) -> None:
        self.name = name
        self._sink = sink
        self._ledger = ledger
        self._lock = threading.Lock()
        self._closing = False
        self._slots = 0
        self._ahead = 0  #: attempts that may wait at the runner beyond its slots

    def capacity(self) -> Capacity:
        """The room there is now."""
        raise NotImplementedError

    def own_slots(self) -> int:
        """As many slots as it has where none are configured."""
        raise NotImplementedError

    def _tell(self, tree: dict[str, Any]) -> None:
        """Send a frame to the runner; that there is none is no error. Never blocks."""
        raise NotImplementedError

    # -- the contract

    def launch(self, work: Sequence[Launch]) -> None:
        with self._lock:
            why = "it is closing" if self._closing else self._unfit()
            if why:
                raise AgentError(
                    f"agent {self.name} takes nothing",
                    why=why,
                    fix="start the attempt elsewhere",
                )
            again = self._launch(work)
        if again:
            self._sink(again)

    def release(self, attempts: Sequence[AttemptId]) -> None:
        with self._lock:
            self._ledger.release(attempts)

    def sightings(self) -> Iterable[Sighting]:
        with self._lock:
            return self._ledger.sightings()

    def set_slots(self, slots: int) -> None:
        """Change the number of slots while work goes on; what runs goes on running."""
        if slots < 1:
            raise AgentError(
                f"agent {self.name} cannot have {slots} slots",
                why="an agent without slots can run nothing",
                fix=f"to stop it from taking work, use spoolmw-ctl pause {self.name}",
            )
        with self._lock:
            self._slots = slots
            self._tell({"do": "slots", "slots": slots})
        self._sink([CapacityChanged(agent=self.name, capacity=self.capacity())])

    # -- for the other half

    def _unfit(self) -> str:
        """Why nothing can be launched now; empty: it can, or it may wait for its runner."""
        return ""

    def _launch(self, work: Sequence[Launch]) -> list[AgentEvent]:
        """Tell the runner what is new in `work`; returns reports that are repeated."""
        groups, again = self._ledger.take(work)
        if groups:
            self._tell({"do": "launch", "work": groups})
        return again

    def _hear(self, told: Iterable[dict[str, Any]]) -> None:
        """Pass on what the runner says, as events."""
        events: list[AgentEvent] = []
        for each in told:
            with self._lock:
                events += self._understand(each)
        if events:
            with self._lock:
                ahead = self._ledger.ahead(self._slots)
            if ahead != self._ahead:
                self._ahead = ahead
                events.append(CapacityChanged(agent=self.name, capacity=self.capacity()))
            self._sink(events)

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        match told["event"]:
            case "ended":
                return self._ledger.ended(told["attempts"])
            case "started":
                return self._ledger.started(told["attempts"])
            case "resumed" | "checkpointed" | "progress" as event:
                return self._ledger.news(event, told["attempts"])
            case "usage":
                self._ledger.used(told["attempts"])
            case "stopped":
                return self._launch(self._ledger.stopped(told["attempts"]))
            case _:
                pass  # hello: nothing hangs on what a runner of our own machine says of itself
        return []


__all__ = ["HostAgent"]
