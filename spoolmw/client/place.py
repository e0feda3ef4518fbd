"""Where the spool is that a caller means."""

from __future__ import annotations

import os
from pathlib import Path

from spoolmw.errors import BadSpool
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.where import default_spool, start_command


def meant_spool(given: str | os.PathLike[str] | None) -> Path:
    """Where the spool is that is meant, or would be; absolute."""
    return default_spool() if given is None else Path(given).absolute()


def find_spool(given: str | os.PathLike[str] | None) -> Layout:
    """The spool at `given`, or the one that is meant when nobody names one; it must exist."""
    layout = Layout(meant_spool(given))
    if not layout.incoming.is_dir():
        raise BadSpool(
            f"There is no spool at {layout.root}.",
            why="the folder does not exist or has no incoming/ in it",
            fix=f"make one by starting the daemon: {start_command(layout.root)}; or name "
            "another with Spool(PATH) or $SPOOLMW_SPOOL",
        )
    return layout
