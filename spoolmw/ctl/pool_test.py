"""What `agents test` shows of a pool of HTCondor."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from spoolmw.config import AgentConfig
from spoolmw.ctl.screen import Column

COLUMNS = (
    Column("AGENT"),
    Column("STATE"),
    Column("SCHEDD"),
    Column("AS"),
    Column("SLOTS", right=True),
    Column("HOST"),
    Column("PYTHON"),
    Column("CANARY", right=True),
)
_CLEAN_UP_S = 10.0  #: for the job to be removed after Ctrl-C


def examined(settings: AgentConfig, root: str, wait_s: float) -> dict[str, Any]:
    """What is found: `ok`, or how far it came, what, why and what to do."""
    asked = json.dumps({"settings": asdict(settings), "root": root, "wait_s": wait_s})
    program = [sys.executable, "-P", "-m", "spoolmw.agents.condorexamine"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            said, _ = child.communicate(f"{asked}\n")
        except KeyboardInterrupt:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # then it goes on without us
                child.wait(_CLEAN_UP_S)
            raise
    if not child.returncode and said:
        found: dict[str, Any] = json.loads(said)
        return found
    row = {"agent": settings.name, "ok": False, "stage": "schedd"}
    if child.returncode == -signal.SIGALRM:
        fix = "see its log (SchedLog); is the machine of the schedd overloaded, or stopped?"
        return {**row, "what": "the schedd does not answer", "why": "a call hangs", "fix": fix}
    why = f"the program for it ended with exit code {child.returncode}"
    return {**row, "what": "the pool could not be examined", "why": why, "fix": ""}


def row_of(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    return (
        str(row["agent"]),
        "ok" if row["ok"] else f"failed: {row['stage']}",
        str(row.get("schedd", "")),
        str(row.get("user", "")),
        f"{row['slots']} of {row['all_slots']}" if "slots" in row else "",
        str(row.get("host", "")),
        str(row.get("python", "")),
        f"{row['canary_s']:.1f} s" if "canary_s" in row else "",
    )
