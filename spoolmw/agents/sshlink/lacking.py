"""What is said of all hosts when a Python package is missing here that is needed to reach them."""

from __future__ import annotations

import sys
import time

from spoolmw.agents.carrier.frames import DaemonSide

_AGAIN_S = 300.0  #: it may have been installed by then: the process ends, and another begins


def how(error: ImportError) -> dict[str, str]:
    """What is missing, and what to do."""
    package = (error.name or "paramiko").partition(".")[0]
    return {
        "what": f"the Python package {package} cannot be imported on the daemon's machine",
        "why": str(error),
        "fix": f"{sys.executable} -m pip install {package}",
    }


def tell(daemon: DaemonSide, error: ImportError) -> None:
    """Say so, and stay for a while. Raises wire.Closed when the daemon is gone."""
    daemon.tell(
        {
            "event": "down",
            **how(error),
            "stage": "link",
            "failures": 1,
            "paused": False,
            "garbage": False,
            "again_s": _AGAIN_S,
        }
    )
    until = time.monotonic() + _AGAIN_S
    while time.monotonic() < until:
        daemon.hear(until - time.monotonic())
