"""What agents share that hand each attempt to an engine as a job of its own: HTCondor, BOINC clients.

To the daemon such an agent has a link process, as one with a keeper on a host. What is special:
attempts run on many hosts, so each tells its own; and the room that there is follows what runs, so
that only so many wait for a machine.

Rule: a link process that says nothing for `SILENT_S` hangs, and is killed. It holds nothing that
would be lost with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from spoolmw.agents.carried import CarriedAgent, Reach
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.kinds import Kind
from spoolmw.agents.ledger import Ledger
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Capacity, CapacityChanged, Launch
from spoolmw.model.ids import AgentName, AttemptId

SILENT_S = 60.0
_LOOK_S = 5.0  #: between two looks whether the link process is alive
_log = logging.getLogger("spoolmw")


class Bounds(NamedTuple):
    """How much of its work the engine may hold; a task of n cpus counts n times."""

    jobs: int  #: in all
    waiting: int  #: that have no machine yet
    key: str  #: what the second is called in the configuration


class EngineLedger(Ledger):
    """Tells of each attempt also where it may run: the engine chooses the host."""

    def _kind_of(self, work: Launch) -> Kind:
        kind = super()._kind_of(work)
        if not work.avoid and not work.platform:
            return kind
        return {**kind, "avoid": list(work.avoid), "platform": work.platform}


class EngineAgent(CarriedAgent):
    """One engine. `_brief` and `capacity` are the kind's own."""

    module: ClassVar[str]  #: what the link process runs
    hangs_in: ClassVar[str]  #: what a silent link process waits for, for people

    def __init__(
        self,
        name: AgentName,
        root: Path,
        settings: AgentConfig,
        sink: Sink,
        *,
        bounds: Bounds,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`env` is added to the environment of the link process."""
        link = Link([name], self.module, env)
        super().__init__(name, Reach(link, name, ""), root, settings, sink)
        self._ledger = EngineLedger("")
        self._bounds = bounds
        self._slots = bounds.jobs
        self._told_room: Capacity | None = None
        self._stuck: dict[str, str] = {}  #: attempts that fit no machine it has, and why
        self._heard_at = time.monotonic()
        self._is_silent = False

    # -- the contract

    def own_slots(self) -> int:
        return self._bounds.jobs

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        """What an attempt prints comes with its result, not before."""
        return b""

    def _room(self) -> int:
        """As many cores as run, and those that may wait for a machine; 0 while there is no engine."""
        if self._why_down:
            return 0
        return min(self._slots, self._ledger.running_cpus() + self._bounds.waiting)

    def _stuck_ones(self) -> tuple[tuple[str, str], ...]:
        """For `Capacity.stuck`."""
        return tuple(sorted(self._stuck.items()))

    def _says(self) -> str:
        """What the engine has, and which of its bounds it has reached."""
        runs, bound = self._ledger.running(), f"{self._bounds.key} = {self._bounds.waiting}"
        if self._room() == self._slots:
            bound = f"max_jobs = {self._slots}"
        return f"{runs} run, {len(self._ledger) - runs} wait for a machine, {bound}"

    # -- the link

    def _begin_to_listen(self) -> None:
        """A new link process is told its brief: it has its time again."""
        self._heard_at = time.monotonic()

    def _until_give_up(self) -> float:
        until = super()._until_give_up()
        return _LOOK_S if until is None else min(until, _LOOK_S)

    def _give_up_if_due(self) -> None:
        if self._stream is not None and time.monotonic() - self._heard_at > SILENT_S:
            self._heard_at = time.monotonic()
            self._is_silent = True
            self._link.kill()
        super()._give_up_if_due()

    def _lose(self, why: str) -> None:
        if self._is_silent:
            self._is_silent = False
            why = f"{self.hangs_in} took longer than {SILENT_S:g} s"
        super()._lose(why)

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        self._heard_at = time.monotonic()
        events: list[AgentEvent] = []
        match told["event"]:
            case "waiting":
                self._ledger.waits_again(told["attempts"])
            case "misfits":
                self._stuck = told["attempts"]
            case "beat":
                pass
            case "log":
                _log.warning("agent says agent=%s %s", self.name, told["text"])
            case _:
                events = super()._understand(told)
        room = self.capacity()
        if any(isinstance(each, CapacityChanged) for each in events):
            self._told_room = room
        elif room != self._told_room and not self._why_down:
            self._told_room = room
            events.append(CapacityChanged(agent=self.name, capacity=room))
        return events
