"""What the link process is told of its agent when it starts, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """The agent's settings, as far as the link needs them."""

    root: Path  #: the spool
    name: str  #: of the agent and of its section in the configuration
    listen: str  #: "ADDRESS:PORT"
    url: str  #: as clients see it; ends in "/"
    project: str  #: its name for people
    is_trusted: bool  #: whether values that are pickled may come from its hosts
    deadline_s: float  #: from sending a job to the report of it
    poll_s: float  #: a client calls so long after its last call
    per_core: int  #: jobs that a host may have for each of its cores
    max_in_work_per_host: int  #: jobs that a host may have in all
    estimate_s: float  #: what a client reckons that a job takes on one core
    request_memory_bytes: int  #: for tasks that name none
    request_disk_bytes: int  #: besides the inputs
    platforms: tuple[str, ...]  #: of clients that get work, as "x86_64-pc-linux-gnu"
    preferences: tuple[tuple[str, str], ...]  #: of `<global_preferences>`; empty: none are sent
    setup: dict[str, Any]  #: env, umask and interpreters of the attempts; values "safe" or ""
    bundle: (
        str  #: whether a Python travels: "auto" (to a host that lacks one), "never", "always"
    )

    @property
    def home(self) -> Path:
        """The agent's own folder in the spool: what only the link and `spoolmw-ctl boinc` write."""
        return home_of(self.root, self.name)

    def told(self) -> dict[str, Any]:
        """As a tree for a frame."""
        return {
            "root": str(self.root),
            "name": self.name,
            "listen": self.listen,
            "url": self.url,
            "project": self.project,
            "trusted": self.is_trusted,
            "deadline": self.deadline_s,
            "poll": self.poll_s,
            "per_core": self.per_core,
            "per_host": self.max_in_work_per_host,
            "estimate": self.estimate_s,
            "memory": self.request_memory_bytes,
            "disk": self.request_disk_bytes,
            "platforms": list(self.platforms),
            "preferences": [list(each) for each in self.preferences],
            "setup": self.setup,
            "bundle": self.bundle,
        }

    @staticmethod
    def of(told: dict[str, Any]) -> Brief:
        return Brief(
            root=Path(told["root"]),
            name=told["name"],
            listen=told["listen"],
            url=told["url"],
            project=told["project"],
            is_trusted=told["trusted"],
            deadline_s=told["deadline"],
            poll_s=told["poll"],
            per_core=told["per_core"],
            max_in_work_per_host=told["per_host"],
            estimate_s=told["estimate"],
            request_memory_bytes=told["memory"],
            request_disk_bytes=told["disk"],
            platforms=tuple(told["platforms"]),
            preferences=tuple((key, value) for key, value in told["preferences"]),
            setup=told["setup"],
            bundle=told["bundle"],
        )


def home_of(root: Path, name: str) -> Path:
    """Where accounts, keys and uploads of the agent `name` lie."""
    return root / "agents" / name / "boinc"
