"""Says which spool is meant when nobody names one; the daemon, the helper and the tool agree."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

#: The spool of a machine's own daemon.
SYSTEM_SPOOL = Path("/var/spool/spoolmw")
#: What to do for a user to whom a part of a spool is closed.
ASK_AS = "ask as the daemon's user, or as a member of the group that [intake] group names"


def start_command(root: object) -> str:
    """What to type to start the daemon of the spool at `root`."""
    return f"spoolmwd --spool {quote(str(root))}"


def default_spool() -> Path:
    """`$SPOOLMW_SPOOL`, else the system's spool where there is one, else `./spool`; absolute."""
    if named := os.environ.get("SPOOLMW_SPOOL"):
        return Path(named).absolute()
    return SYSTEM_SPOOL if SYSTEM_SPOOL.is_dir() else Path("spool").absolute()
