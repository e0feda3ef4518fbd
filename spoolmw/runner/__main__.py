"""Starts a runner or a worker: `ARCHIVE runner FD DAEMON` or `ARCHIVE worker SETUP`.

Each loads only its own half of the package: a worker starts twice as fast without the other.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, List

_HOMES = {"runner": ".serve", "worker": ".worker"}


def main(argv: List[str]) -> int:
    """Be what the first argument says."""
    home = _HOMES.get(argv[1] if len(argv) > 1 else "")
    if home is None:
        sys.stderr.write(f"usage: {argv[0]} runner FD DAEMON | worker SETUP\n")
        return 2
    module: Any = importlib.import_module(home, __package__)
    status: int = module.main(argv[2:], archive=argv[0])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
