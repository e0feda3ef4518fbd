"""The agent `condor`: a pool of HTCondor. Each attempt is a job; HTCondor chooses machine and time."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.carried import CarriedAgent
from spoolmw.agents.condorlink.brief import wants
from spoolmw.agents.condorpilot import CondorPilotAgent
from spoolmw.agents.condorsite import check, environment, spool_id
from spoolmw.agents.contract import Sink
from spoolmw.agents.engineagent import Bounds, EngineAgent
from spoolmw.agents.hostrunner import umask
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Capacity
from spoolmw.model.ids import AgentName


class CondorAgent(EngineAgent):
    """One pool."""

    module = "spoolmw.agents.condorlink"
    hangs_in = "the schedd does not answer: a call to it"  # HTCondor's own time-outs are 20 s

    @staticmethod
    def check(settings: AgentConfig, root: Path) -> None:
        """Raises BadConfig when it cannot work whatever comes."""
        check(settings, root)
        if settings.pool.mode == "pilot":
            CondorPilotAgent.check(settings, root)

    @classmethod
    def family(
        cls, settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
    ) -> Sequence[CarriedAgent]:
        """The one agent of a section, or one for each of its pilots. Raises BadConfig."""
        cls.check(settings, root)
        if settings.pool.mode == "pilot":
            return CondorPilotAgent.family(settings, root, sink_of)
        name = AgentName(settings.name)
        return [cls(name, root, settings, sink_of(name))]

    def __init__(self, name: AgentName, root: Path, settings: AgentConfig, sink: Sink) -> None:
        pool = settings.pool
        bounds = Bounds(pool.max_jobs, pool.max_idle, "max_idle")
        env = environment(settings, os.environ)
        super().__init__(name, root, settings, sink, bounds=bounds, env=env)
        self._spool_id = spool_id(self._root, name)

    def capacity(self) -> Capacity:
        pool = self._settings.pool
        return Capacity(
            slots=self._room(),
            gpus=pool.max_gpus,
            owner=self._settings.owner,
            platform=pool.platform,
            running=self._ledger.running(),
            says=self._says(),
            stuck=self._stuck_ones(),
        )

    def _brief(self) -> dict[str, Any]:
        self._begin_to_listen()
        setup = setup_of(self._settings)
        return wants(self._settings, self._root, self._spool_id, setup).told()


def setup_of(settings: AgentConfig) -> dict[str, Any]:
    """What attempts find where they run."""
    home = settings.home or pwd.getpwuid(os.geteuid()).pw_dir
    named = {each: os.environ[each] for each in settings.env if each in os.environ}
    return {
        "env": {"PATH": settings.path, "LANG": "C.UTF-8", "HOME": home, **named},
        "umask": umask(),
        "interpreters": [*settings.python, *settings.interpreters],
    }
