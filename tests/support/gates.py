"""Calls that a test holds up and lets go by files. They travel by value, so they need no import."""

from __future__ import annotations

import os
import time
from pathlib import Path


def pass_gate(gate: str, value: object = None) -> object:
    """Say that the call runs (GATE.running), then wait until GATE is there."""
    with open(f"{gate}.running", "a"):
        pass
    while not os.path.exists(gate):
        time.sleep(0.005)
    return value


def is_running(gate: Path) -> bool:
    """Whether a call waits at the gate, or has passed it."""
    return Path(f"{gate}.running").exists()
