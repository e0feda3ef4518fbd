"""What HTCondor needs to know of a spool before there is a pool, whatever the jobs are."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from spoolmw.agents.condorlink import describe
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.spooldir.publish import publish

_SOURCES = ("/etc/condor/condor_config", "/usr/local/etc/condor_config")


def environment(settings: AgentConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """What HTCondor's package finds in its environment; it reads it when it is loaded."""
    pool = settings.pool
    env: dict[str, str] = {}
    if pool.condor_config:
        env["CONDOR_CONFIG"] = pool.condor_config
    elif "CONDOR_CONFIG" not in environ and not any(map(os.path.exists, _SOURCES)):
        env["CONDOR_CONFIG"] = "ONLY_ENV"
    if pool.collector:
        env["_CONDOR_COLLECTOR_HOST"] = pool.collector
    if pool.tokens:
        env["_CONDOR_SEC_TOKEN_DIRECTORY"] = pool.tokens
    return env


def spool_id(root: Path, name: str) -> str:
    """What names this spool and agent in job ads; it stays as long as the spool does."""
    path = root / "agents" / name / "id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = secrets.token_hex(12)
    publish(f"{fresh}\n".encode(), path, tmp=path.parent)
    return fresh


def check(settings: AgentConfig, root: Path) -> None:
    """Raises BadConfig when it cannot work whatever comes."""
    where = f"[agents.{settings.name}]"
    if importlib.util.find_spec("htcondor2") is None:
        raise BadConfig(
            f"{where}: HTCondor's package for Python is not installed",
            why='an agent of kind "condor" talks to the schedd through it',
            fix="pip install 'spoolmw[condor]'",
        )
    why = describe.unfit(str(root.resolve()))
    if why:
        raise BadConfig(
            f"{where}: HTCondor cannot use this spool",
            why=why,
            fix="move the spool to another path",
        )
