"""Where the spool is that a caller means."""

from __future__ import annotations

import os
from pathlib import Path

from spoolmw.errors import BadSpool
from spoolmw.spooldir.layout import Layout

SYSTEM_SPOOL = Path("/var/spool/spoolmw")


def find_spool(given: str | os.PathLike[str] | None) -> Layout:
    """The spool as given, at `$SPOOLMW_SPOOL`, the system's where it exists, or `./spool`."""
    if given is not None:
        root = Path(given)
    elif named := os.environ.get("SPOOLMW_SPOOL"):
        root = Path(named)
    else:
        root = SYSTEM_SPOOL if SYSTEM_SPOOL.is_dir() else Path("spool")
    layout = Layout(root.absolute())
    if not layout.incoming.is_dir():
        raise BadSpool(
            f"There is no spool at {layout.root}.",
            why="the folder does not exist or has no incoming/ in it",
            fix=f"make one by starting the daemon: spoolmwd --spool {layout.root}; or name "
            "another with Spool(PATH) or $SPOOLMW_SPOOL",
        )
    return layout
