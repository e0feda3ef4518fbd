"""The agent `boinc`: desktops with the stock BOINC client, which fetch work when they have time for it.

To the daemon it is an engine as HTCondor is: each attempt is a job, waits for a client that asks for
work, and runs where that is. Its link process is the server that clients speak with (`boinclink`).

Rule 1: without `trusted = true` every host is anybody's. The daemon then gives it only replicas of
which several must agree, and their values travel in the safe codec; nobody ever unpickles them.
Rule 2: whose host it is, which machine and which platform, is known when a job was sent to it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.engineagent import Bounds, EngineAgent, EngineLedger
from spoolmw.agents.hostrunner import umask
from spoolmw.agents.kinds import Kind
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.model.agent import Capacity, HostSeen, Launch
from spoolmw.model.ids import AgentName

#: What the link needs besides, and what it is for.
_PACKAGES = {
    "aiohttp": "the agent's server speaks HTTP through it",
    "cryptography": "the key that programs for clients are signed with is made by it",
}


class BoincLedger(EngineLedger):
    """Tells of each replica also with whom it may not share a host or an owner."""

    def _kind_of(self, work: Launch) -> Kind:
        kind = super()._kind_of(work)
        if not work.taken:
            return kind
        return {**kind, "distinct": work.distinct, "taken": list(work.taken)}


class BoincAgent(EngineAgent):
    """One project, with all the hosts that are attached to it."""

    module = "spoolmw.agents.boinclink"
    hangs_in = "the agent's server said nothing: what it does"

    @staticmethod
    def check(settings: AgentConfig, _root: Path) -> None:
        """Raises BadConfig when it cannot work whatever comes."""
        check(settings)

    @classmethod
    def family(
        cls, settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
    ) -> Sequence[BoincAgent]:
        """The one agent of a section. Raises BadConfig."""
        check(settings)
        name = AgentName(settings.name)
        return [cls(name, root, settings, sink_of(name))]

    def __init__(self, name: AgentName, root: Path, settings: AgentConfig, sink: Sink) -> None:
        wish = settings.boinc
        bounds = Bounds(wish.max_jobs, wish.max_waiting, "max_waiting")
        super().__init__(name, root, settings, sink, bounds=bounds)
        self._ledger = BoincLedger("")
        self._hosts: list[HostSeen] = []

    def capacity(self) -> Capacity:
        return Capacity(
            slots=self._room(),
            running=self._ledger.running(),
            says=self._says(),
            stuck=self._stuck_ones(),
            trusted=self._settings.boinc.is_trusted,
        )

    def hosts(self) -> Sequence[HostSeen]:
        """Those that called in the last days, the newest first."""
        return self._hosts

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        if told["event"] == "hosts":
            is_trusted = self._settings.boinc.is_trusted
            self._hosts = [_seen(each, is_trusted=is_trusted) for each in told["hosts"]]
        return super()._understand(told)

    def _brief(self) -> dict[str, Any]:
        self._begin_to_listen()
        return brief_of(self._settings, self._root).told()


def _seen(told: dict[str, Any], *, is_trusted: bool) -> HostSeen:
    return HostSeen(
        host=told["host"],
        machine=told["machine"],
        account=told["account"],
        owner=told["owner"],
        platform=told["platform"],
        cores=told["cores"],
        memory_bytes=told["memory"],
        seen_at=told["seen"],
        has=told["has"],
        rests_until=told["rests_until"],
        trusted=is_trusted,
    )


def brief_of(settings: AgentConfig, root: Path) -> Brief:
    """What the link is told of its section."""
    wish = settings.boinc
    return Brief(
        root=root,
        name=settings.name,
        listen=wish.listen,
        url=wish.url,
        project=wish.project or settings.name,
        is_trusted=wish.is_trusted,
        deadline_s=wish.deadline_s,
        poll_s=wish.poll_s,
        per_core=wish.per_core,
        max_in_work_per_host=wish.per_host,
        estimate_s=wish.estimate_s,
        request_memory_bytes=wish.request_memory_bytes,
        request_disk_bytes=wish.request_disk_bytes,
        platforms=wish.platforms,
        preferences=wish.preferences,
        setup=setup_of(settings),
        bundle=wish.bundle,
    )


def setup_of(settings: AgentConfig) -> dict[str, Any]:
    """What attempts find where they run, and how their values travel."""
    named = {each: os.environ[each] for each in settings.env if each in os.environ}
    return {
        "env": {"PATH": settings.path, "LANG": "C.UTF-8", **named},
        "umask": umask(),
        "interpreters": [*settings.python, *settings.interpreters],
        "values": "" if settings.boinc.is_trusted else "safe",
    }


def check(settings: AgentConfig) -> None:
    """Raises BadConfig when it cannot work whatever comes."""
    where = f"[agents.{settings.name}]"
    for package, use in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            raise BadConfig(
                f"{where}: the Python package {package} is not installed",
                why=use,
                fix="pip install 'spoolmw[boinc]'",
            )
    if not settings.boinc.listen:
        raise BadConfig(
            f"{where} has no address for clients to call",
            why="they fetch their work from the daemon, and no port is open by itself",
            fix='write listen = "0.0.0.0:8090", a port that the desktops reach',
        )
    if not settings.boinc.url:
        raise BadConfig(
            f"{where} has no URL for clients to attach to",
            why="they know the project by it, and it must be as they see it",
            fix='write url = "http://HOST.DOMAIN:8090/NAME/", or the address of what ends TLS',
        )


__all__ = ["BoincAgent", "BoincLedger", "brief_of", "check"]
