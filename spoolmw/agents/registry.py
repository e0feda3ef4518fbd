"""Finds the agent of a kind: by entry point (group `spoolmw.agents`), the built-in ones also without.

A kind is a class or function `(name, spool_root, settings, sink) -> Agent`. One that has
`family(settings, spool_root, sink_of) -> agents` makes several, named `SECTION:...`; one that has
`check(settings, spool_root)` raises BadConfig there for settings that it cannot use. It is imported
only when the configuration asks for it, so an engine's package that is missing costs nobody anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from spoolmw.agents.contract import Agent, Sink
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.model.ids import AgentName

GROUP = "spoolmw.agents"
BUILT_IN = {
    "local": "spoolmw.agents.local:LocalAgent",
    "fake": "spoolmw.agents.fake:FakeAgent",
    "ssh": "spoolmw.agents.ssh:SshAgent",
    "condor": "spoolmw.agents.condor:CondorAgent",
    "process": "spoolmw.agents.pilot:PilotAgent",
    "boinc": "spoolmw.agents.boinc:BoincAgent",
}


def make_agents(
    settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
) -> dict[AgentName, Agent]:
    """The agents that a section asks for: one, or one for each host. Raises BadConfig."""
    family = getattr(_factory(settings), "family", None)
    if family is None:
        name = AgentName(settings.name)
        return {name: make_agent(settings, root, sink_of(name))}
    return {each.name: each for each in family(settings, root, sink_of)}


def check_sections(sections: Sequence[AgentConfig], root: Path) -> None:
    """Raises BadConfig where `make_agents` would, as far as that is seen without making one."""
    for settings in sections:
        check = getattr(_factory(settings), "check", None)
        if check is not None:
            check(settings, root)


def section_of(name: str) -> str:
    """The section of the configuration that an agent is of: `lab` of `lab:pc01`."""
    return name.partition(":")[0]


def make_agent(settings: AgentConfig, root: Path, sink: Sink) -> Agent:
    """The agent that `settings` asks for, on the spool at `root`. Raises BadConfig."""
    agent: Agent = _factory(settings)(AgentName(settings.name), root, settings, sink)
    return agent


def _factory(settings: AgentConfig) -> Any:
    for found in entry_points(group=GROUP, name=settings.kind):
        return found.load()
    if settings.kind in BUILT_IN:
        module, _, name = BUILT_IN[settings.kind].partition(":")
        return getattr(importlib.import_module(module), name)
    known = sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})
    raise BadConfig(
        f"[agents.{settings.name}] kind: there is no kind {settings.kind!r}",
        why=f"known are {', '.join(known)}",
        fix='use kind = "local", or install the package that brings the kind',
    )
