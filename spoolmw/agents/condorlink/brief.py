"""What the link process is told of its agent when it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spoolmw.agents.condorlink import describe
from spoolmw.config import AgentConfig, Pool

EVENTS = "events.log"
JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Brief:
    """The agent's settings, as far as the link needs them."""

    root: Path
    name: str
    spool_id: str
    pool: Pool
    setup: dict[str, Any]  #: env, umask and interpreters of the attempts
    pythons: tuple[str, ...]
    wants_bundle: bool

    @property
    def home(self) -> Path:
        """The agent's own folder in the spool."""
        return self.root / "agents" / self.name

    @property
    def log(self) -> Path:
        """The event log that is read."""
        return Path(self.pool.event_log) if self.pool.event_log else self.home / EVENTS

    @property
    def has_log(self) -> bool:
        """Whether a log tells what happens; else the schedd must be asked."""
        return bool(self.pool.event_log) or not self.pool.is_remote

    def manner(self, launcher: Path, arguments: str) -> describe.Manner:
        """How its jobs are described."""
        pool = self.pool
        return describe.Manner(
            spool_id=self.spool_id,
            launcher=str(launcher),
            arguments=arguments,
            log="" if pool.event_log else str(self.log),
            lease_s=pool.lease_s,
            memory_bytes=pool.request_memory_bytes,
            disk_bytes=pool.request_disk_bytes,
            platform=pool.platform,
            shared_files=pool.shared_files,
            is_remote=pool.is_remote,
            submit=pool.submit,
        )

    def told(self) -> dict[str, Any]:
        """As a tree for a frame."""
        return {
            "root": str(self.root),
            "name": self.name,
            "spool_id": self.spool_id,
            "pool": asdict(self.pool),
            "setup": self.setup,
            "pythons": list(self.pythons),
            "bundle": self.wants_bundle,
        }

    @staticmethod
    def of(told: dict[str, Any]) -> Brief:
        pool = {**told["pool"], "submit": tuple(map(tuple, told["pool"]["submit"]))}
        return Brief(
            Path(told["root"]),
            told["name"],
            told["spool_id"],
            Pool(**pool),
            told["setup"],
            tuple(told["pythons"]),
            told["bundle"],
        )


def wants(settings: AgentConfig, root: Path, spool_id: str, setup: dict[str, Any]) -> Brief:
    """The brief of an agent of kind condor."""
    return Brief(
        root,
        settings.name,
        spool_id,
        settings.pool,
        setup,
        settings.python,
        settings.runner_python == "bundle",
    )
