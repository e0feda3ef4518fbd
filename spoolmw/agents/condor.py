"""The agent `condor`: a pool of HTCondor. Each attempt is a job; HTCondor chooses machine and time.

To the daemon it is an agent with a link process, as one with a keeper on a host. What is
special: attempts run on many hosts, so each tells its own; and the room that there is follows what
runs, so that at most `max_idle` wait for a machine.

Rule: a link process that says nothing for `SILENT_S` hangs in a call to the schedd, and is killed.
It holds nothing.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.carried import CarriedAgent, Reach
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.condorlink.brief import wants
from spoolmw.agents.condorpilot import CondorPilotAgent
from spoolmw.agents.condorsite import check, environment, spool_id
from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.hostrunner import umask
from spoolmw.agents.kinds import Kind
from spoolmw.agents.ledger import Ledger
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Capacity, CapacityChanged, Launch
from spoolmw.model.ids import AgentName, AttemptId

SILENT_S = 60.0  #: HTCondor's own time-outs are 20 s
_LOOK_S = 5.0  #: between two looks whether the link process is alive
_MODULE = "spoolmw.agents.condorlink"


class PoolLedger(Ledger):
    """Tells of each attempt also where it may run: HTCondor chooses the host."""

    def _kind_of(self, work: Launch) -> Kind:
        kind = super()._kind_of(work)
        if not work.avoid and not work.spec.place.platform:
            return kind
        return {**kind, "avoid": list(work.avoid), "platform": work.spec.place.platform}


class CondorAgent(CarriedAgent):
    """One pool."""

    @classmethod
    def family(
        cls, settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
    ) -> Sequence[CarriedAgent]:
        """The one agent of a section, or one for each of its pilots. Raises BadConfig."""
        check(settings, root)
        if settings.pool.mode == "pilot":
            return CondorPilotAgent.family(settings, root, sink_of)
        name = AgentName(settings.name)
        return [cls(name, root, settings, sink_of(name))]

    def __init__(self, name: AgentName, root: Path, settings: AgentConfig, sink: Sink) -> None:
        link = Link([name], _MODULE, environment(settings, os.environ))
        super().__init__(name, Reach(link, name, ""), root, settings, sink)
        self._ledger = PoolLedger("")
        self._slots = settings.pool.max_jobs
        self._told_room: Capacity | None = None
        self._stuck: dict[str, str] = {}  #: attempts that fit no machine of the pool, and why
        self._heard_at = time.monotonic()
        self._is_silent = False
        self._spool_id = spool_id(self._root, name)

    # -- the contract

    def capacity(self) -> Capacity:
        pool = self._settings.pool
        return Capacity(
            slots=0 if self._why_down else self._room(),
            gpus=pool.max_gpus,
            owner=self._settings.owner,
            platform=pool.platform,
            running=self._ledger.running(),
            says=self._says(),
            stuck=tuple(sorted(self._stuck.items())),
        )

    def _room(self) -> int:
        """As many cores as run, and those that may wait for a machine."""
        return min(self._slots, self._ledger.running_cpus() + self._settings.pool.max_idle)

    def _says(self) -> str:
        """What there is in the queue, and which of its bounds it has reached."""
        runs, bound = self._ledger.running(), f"max_idle = {self._settings.pool.max_idle}"
        if self._room() == self._slots:
            bound = f"max_jobs = {self._slots}"
        return f"{runs} run, {len(self._ledger) - runs} wait for a machine, {bound}"

    def own_slots(self) -> int:
        return self._settings.pool.max_jobs

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        """What an attempt prints comes with its result, not before."""
        return b""

    # -- the link

    def _brief(self) -> dict[str, Any]:
        self._heard_at = time.monotonic()
        setup = setup_of(self._settings)
        return wants(self._settings, self._root, self._spool_id, setup).told()

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
            why = f"the schedd does not answer: a call to it took longer than {SILENT_S:g} s"
        super()._lose(why)

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        self._heard_at = time.monotonic()
        events: list[AgentEvent] = []
        if told["event"] == "waiting":
            self._ledger.waits_again(told["attempts"])
        elif told["event"] == "misfits":
            self._stuck = told["attempts"]
        elif told["event"] != "beat":
            events = super()._understand(told)
        room = self.capacity()
        if any(isinstance(each, CapacityChanged) for each in events):
            self._told_room = room
        elif room != self._told_room and not self._why_down:
            self._told_room = room
            events.append(CapacityChanged(agent=self.name, capacity=room))
        return events


def setup_of(settings: AgentConfig) -> dict[str, Any]:
    """What attempts find where they run."""
    home = settings.home or pwd.getpwuid(os.geteuid()).pw_dir
    named = {each: os.environ[each] for each in settings.env if each in os.environ}
    return {
        "env": {"PATH": settings.path, "LANG": "C.UTF-8", "HOME": home, **named},
        "umask": umask(),
        "interpreters": [*settings.python, *settings.interpreters],
    }
