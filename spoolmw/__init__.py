"""spoolmw: drop a task file into a directory, find its result; nothing is lost on the way.

The package's face. Attributes are loaded when first asked for, so that `import spoolmw` costs
nothing inside a task on a bare host: neither watchdog nor SQLite is loaded by it.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing's, without the price of loading it
if TYPE_CHECKING:
    from spoolmw import checkpoint
    from spoolmw.checkpoint import progress
    from spoolmw.client.future import SpoolTask
    from spoolmw.client.outcome import CommandResult
    from spoolmw.client.spool import Spool
    from spoolmw.errors import NotServed, ResultGone, SpoolmwError, TaskFailed, TaskRejected

__version__ = "0.1.0"

_HOMES = {
    "CommandResult": "spoolmw.client",
    "Spool": "spoolmw.client",
    "SpoolTask": "spoolmw.client",
    "SpoolmwError": "spoolmw.errors",
    "TaskFailed": "spoolmw.errors",
    "TaskRejected": "spoolmw.errors",
    "ResultGone": "spoolmw.errors",
    "NotServed": "spoolmw.errors",
    "progress": "spoolmw.checkpoint",
}
_MODULES = ("checkpoint",)

__all__ = [
    "CommandResult",
    "NotServed",
    "ResultGone",
    "Spool",
    "SpoolTask",
    "SpoolmwError",
    "TaskFailed",
    "TaskRejected",
    "checkpoint",
    "progress",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"spoolmw.{name}")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'spoolmw' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
