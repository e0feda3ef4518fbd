"""Pilots of the engine `process`, seen from outside."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.support.waiting import wait_until


def pilots(spool: Path) -> list[int]:
    """The processes that are pilots of this spool."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "pilot" in words and words[-2].startswith(f"{spool.resolve()}/agents/"):
                found.append(int(entry.name))
    return sorted(found)


def end_pilots(spool: Path) -> None:
    """kill -9 all of them, and see that nothing of theirs is left."""
    for pid in pilots(spool):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not pilots(spool), last=lambda: str(pilots(spool)))
