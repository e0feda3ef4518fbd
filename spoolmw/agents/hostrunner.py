"""The runner of this very machine: the same that a keeper on a host has for its child."""

from __future__ import annotations

from spoolmw.runner.charge import Charge as HostRunner
from spoolmw.runner.charge import umask

__all__ = ["HostRunner", "umask"]
