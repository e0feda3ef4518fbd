"""Starts a runner or a worker: `ARCHIVE runner FD DAEMON` or `ARCHIVE worker SETUP`."""

from __future__ import annotations

import json
import sys
from typing import List

from . import serve, worker

_WORKER_FD = 3


def main(argv: List[str]) -> int:
    """Be what the first argument says."""
    archive = argv[0]
    if argv[1] == "runner":
        return serve.main(int(argv[2]), int(argv[3]), archive)
    if argv[1] == "worker":
        return worker.main(worker.Setup(**json.loads(argv[2])), _WORKER_FD, archive)
    sys.stderr.write(f"{archive}: {argv[1]} is neither runner nor worker\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
