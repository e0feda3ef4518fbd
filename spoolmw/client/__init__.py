"""The Python helper: `Spool` submits, `SpoolTask` is what a submission returns.

Loaded lazily: `spoolmw-ctl` needs only `client.control`, which should cost no watchdog.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "CommandResult": "spoolmw.client.outcome",
    "Spool": "spoolmw.client.spool",
    "SpoolTask": "spoolmw.client.future",
}

__all__ = ["CommandResult", "Spool", "SpoolTask"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'spoolmw.client' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
