"""What a keeper is told of its agent, whatever leads to it."""

from __future__ import annotations

import os
import secrets
from typing import Any

from spoolmw.agents.hostrunner import umask
from spoolmw.config import AgentConfig


def setup_of(settings: AgentConfig, name: str, slots: int) -> dict[str, Any]:
    """The fields of `setup` that come from the configuration."""
    env = {
        "PATH": settings.path,
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **({"HOME": settings.home} if settings.home else {}),
        **{each: os.environ[each] for each in settings.env if each in os.environ},
    }
    return {
        # A part of folders' names, some of which stand in lists.
        "agent": name.replace(":", "-"),
        "slots": slots,
        "gpus": list(settings.gpus),
        "interpreters": [*settings.python, *settings.interpreters],
        "env": env,
        "home": settings.home,
        "umask": umask(),
        "instance": secrets.token_hex(8),
    }
