"""The client of the soak test: submits many small tasks, and tells each in `acks`. `(HOME, NUMBER)`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from spoolmw import Spool
from tests.crash.workload import append, note_run

ACKS = "acks"
BURST = 50  #: tasks between two breaths


def square(number: int, home: str) -> int:
    """A task that does next to nothing, but tells of each run."""
    os.close(note_run(home))
    return number * number


def submit(home: Path, number: int) -> None:
    """Submit so many tasks, in bursts; works while the daemon is down."""
    spool = Spool(home / "spool").options(keep=True)
    for n in range(number):
        task = spool.submit(square, n, str(home))
        append(str(home / ACKS), f"{task.id} {n * n}")
        if n % BURST == 0:
            time.sleep(0.01)


if __name__ == "__main__":
    submit(Path(sys.argv[1]), int(sys.argv[2]))
