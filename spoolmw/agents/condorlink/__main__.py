"""`python -m spoolmw.agents.condorlink PPID FD`: serves one agent, and ends with the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import warnings

from spoolmw.agents.condorlink.condorlink import CondorLink
from spoolmw.runner import process, wire


def main(argv: list[str]) -> int:
    """Serve until the socket is closed."""
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(argv[0]):
        return 1  # the daemon died before its death could be watched
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    warnings.simplefilter("ignore")  # condor_submit's remarks on single lines
    sock = socket.socket(fileno=int(argv[1]))
    sock.set_inheritable(False)
    with sock, contextlib.suppress(wire.Closed):
        CondorLink(sock).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
