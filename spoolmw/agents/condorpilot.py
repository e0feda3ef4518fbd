"""Pilots of a pool of HTCondor: each is one job of its (`mode = "pilot"`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoolmw.agents.condorsite import environment, spool_id
from spoolmw.agents.pilot import PilotAgent
from spoolmw.config import AgentConfig


class CondorPilotAgent(PilotAgent):
    """One seat, for a job of HTCondor's."""

    engine = "condor"

    @classmethod
    def completed(cls, settings: AgentConfig) -> AgentConfig:
        """A pilot has no more memory than its job asks for."""
        each = settings.pool.request_memory_bytes
        memory = settings.memory_bytes or each * (settings.slots or 1)
        return replace(settings, memory_bytes=memory)

    @classmethod
    def environment_of(cls, settings: AgentConfig) -> Mapping[str, str]:
        return environment(settings, os.environ)

    @classmethod
    def options_of(cls, settings: AgentConfig, root: Path) -> dict[str, Any]:
        """The fields of `condorlink.pilotjob.Terms`."""
        pool = settings.pool
        return {
            "schedd": pool.schedd,
            "collector": pool.collector,
            "spool_id": spool_id(root, settings.name),
            "is_remote": pool.is_remote,
            "lease_s": pool.lease_s,
            "disk_bytes": pool.request_disk_bytes,
            "platform": pool.platform,
            "submit": [list(each) for each in pool.submit],
            "wants_bundle": settings.runner_python == "bundle",
        }
