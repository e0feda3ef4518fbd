"""Starts what the first argument names: `ARCHIVE runner FD DAEMON`, `ARCHIVE worker SETUP`;
on a host of a cluster `ARCHIVE attach FOLDER`, `ARCHIVE keeper FOLDER`, `ARCHIVE probe FOLDER`;
in a batch job `ARCHIVE one [FOLDER [SCRATCH]]`, or `ARCHIVE pilot ORDER` for many tasks; in a slot
of a BOINC client `ARCHIVE boinc`.

Each loads only its own part of the package: a worker starts twice as fast without the others.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, List

_HOMES = {
    "runner": ".start",
    "worker": ".worker",
    "keeper": ".keeper",
    "attach": ".attach",
    "probe": ".probe",
    "one": ".solo",
    "pilot": ".pilot",
    "boinc": ".boinc",
}
_USAGE = (
    "runner FD DAEMON | worker SETUP | attach FOLDER | keeper FOLDER | probe FOLDER"
    " | one [FOLDER [SCRATCH]] | pilot ORDER | boinc"
)


def main(argv: List[str]) -> int:
    """Be what the first argument says."""
    home = _HOMES.get(argv[1] if len(argv) > 1 else "")
    if home is None:
        sys.stderr.write(f"usage: {argv[0]} {_USAGE}\n")
        return 2
    module: Any = importlib.import_module(home, __package__)
    status: int = module.main(argv[2:], archive=argv[0])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
