"""The agent `ssh`: one for each host of a section, named `SECTION:HOST`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spoolmw.agents.carried import CarriedAgent, Reach
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.contract import Sink
from spoolmw.agents.sshbrief import brief, hosts_of
from spoolmw.config import AgentConfig
from spoolmw.format.hosts import HostName
from spoolmw.model.ids import AgentName


class SshAgent(CarriedAgent):
    """One host that sshd runs on."""

    @staticmethod
    def check(settings: AgentConfig, _root: Path) -> None:
        """Raises BadConfig for a section without hosts, or with wrong ones."""
        hosts_of(settings)

    @classmethod
    def family(
        cls, settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
    ) -> list[SshAgent]:
        """The agents of a section, one for each host that it names. Raises BadConfig."""
        hosts = hosts_of(settings)
        link = Link([each.label for each in hosts], "spoolmw.agents.sshlink")
        made = []
        for each in hosts:
            name = AgentName(f"{settings.name}:{each.label}")
            made.append(cls(name, each, link, root, settings, sink_of(name)))
        return made

    def __init__(
        self,
        name: AgentName,
        target: HostName,
        link: Link,
        root: Path,
        settings: AgentConfig,
        sink: Sink,
    ) -> None:
        reach = Reach(link, target.label, target.name)
        super().__init__(name, reach, root, settings, sink)
        self._target = target

    def _brief(self) -> dict[str, Any]:
        return brief(self._settings, self._target, self._root, self.name, self._slots)
