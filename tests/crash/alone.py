"""A task that comes, and ends, while nothing else happens: a program `(HOME, other|lone)`.

Its file and its result are then synced alone, not with everything (see `daemon/preparing.py`).
The other task only waits; it is submitted first, and keeps the daemon from having drained its
spool meanwhile.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from spoolmw import Spool
from tests.support.waiting import wait_until

WAITS = "waits"  #: made when the other task runs
GO = "go"  #: ends it
RUNS = "runs"  #: made when the lone task runs
VALUE = "it came alone"


def wait_for(mark: Path, until: Path) -> None:
    """Run until somebody makes the file `until`."""
    mark.touch()
    while not until.exists():
        time.sleep(0.01)


def answer(mark: Path) -> str:
    """What the lone task does."""
    mark.touch()
    time.sleep(0.1)
    return VALUE


def main(home: Path, part: str) -> None:
    """Submit the other task, or the lone one when all is quiet."""
    spool = Spool(home / "spool")
    if part == "other":
        spool.submit(wait_for, home / WAITS, home / GO)
        return
    wait_until((home / WAITS).exists, timeout_s=30)
    time.sleep(0.3)  # what is told of its start is committed
    spool.submit(answer, home / RUNS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
