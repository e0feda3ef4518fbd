"""`python -m spoolmw.agents.condorexamine`: tries a pool of HTCondor, the whole way of a task.

Standard input is one JSON object: the section's settings, the spool's folder, how long a small job
may take. One line of JSON comes out. What HTCondor's package finds in its environment must be there
when it is loaded, so this becomes another program.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from spoolmw.agents.condor import setup_of
from spoolmw.agents.condorlink.brief import wants
from spoolmw.agents.condorsite import check, environment
from spoolmw.config import AgentConfig, Pool
from spoolmw.errors import BadConfig

_MODULE = "spoolmw.agents.condorlink.canary"


def main(told: dict[str, Any]) -> None:
    """Become the program that talks to the pool, unless that is of no use."""
    settings = _settings(told["settings"])
    try:
        check(settings, Path(told["root"]))
    except BadConfig as error:
        row = {"agent": settings.name, "ok": False, "stage": "configuration"}
        print(json.dumps({**row, "what": error.what, "why": error.why, "fix": error.fix}))
        return
    brief = wants(settings, Path(told["root"]).resolve(), "", setup_of(settings)).told()
    letter = os.memfd_create("brief", 0)
    os.write(letter, json.dumps({"brief": brief, "wait_s": told["wait_s"]}).encode() + b"\n")
    os.lseek(letter, 0, os.SEEK_SET)
    os.dup2(letter, 0)
    env = {**os.environ, **environment(settings, os.environ)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", _MODULE], env)  # noqa: S606


def _settings(told: dict[str, Any]) -> AgentConfig:
    given: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in told.items()
    }
    pool = {**told["pool"], "submit": tuple(map(tuple, told["pool"]["submit"]))}
    return AgentConfig(**(given | {"pool": Pool(**pool)}))


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
