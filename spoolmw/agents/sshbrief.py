"""What a section of kind ssh says: its hosts, and what the link is told of each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from spoolmw.agents.setup import setup_of
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.format.hosts import BadHost, HostName, expand, from_file
from spoolmw.runner import host as machine


def hosts_of(settings: AgentConfig) -> list[HostName]:
    """The hosts of a section, those in its file too. Raises BadConfig."""
    where = f"[agents.{settings.name}]"
    words = list(settings.hosts)
    try:
        if settings.hosts_file:
            words += from_file(Path(settings.hosts_file).read_text(encoding="utf-8"))
        hosts = expand(words)
    except (OSError, UnicodeDecodeError, BadHost) as error:
        raise BadConfig(
            f"{where}: its hosts cannot be used",
            why=str(error),
            fix='write them as "pc01", "pc[01-40].lab" or "ann@pc03:2222"',
        ) from error
    if not hosts:
        raise BadConfig(
            f"{where} has no hosts",
            why='an agent of kind "ssh" is nothing without them',
            fix='write hosts = ["pc01", "pc[02-40].lab"], or hosts_file = "/path/of/a/list"',
        )
    return hosts


def space_of(root: Path, name: str) -> str:
    """The name of our folder on a host: this spool's and this agent's, and nobody else's."""
    identity = f"{machine.machine()}\n{root}\n{name}"
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def brief(
    settings: AgentConfig, host: HostName, root: Path, name: str, slots: int
) -> dict[str, Any]:
    """How to reach a host, and what its keeper is told of the agent."""
    return {
        "host": [host.name, host.port, host.user],
        "root": str(root),
        "space": space_of(root, name),
        "setup": setup_of(settings, name, slots),
        "user": settings.user,
        "ssh_config": settings.ssh_config,
        "folder": settings.folder,
        "pythons": list(settings.python),
        "bundle": settings.runner_python == "bundle",
    }
