"""`python -m spoolmw.agents.condorlink PPID FD`: serves one agent."""

from __future__ import annotations

import socket
import sys
import warnings

from spoolmw.agents.carrier import serving
from spoolmw.agents.condorlink.condorlink import CondorLink


def _serve(sock: socket.socket) -> None:
    CondorLink(sock).run()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # condor_submit's remarks on single lines
    sys.exit(serving.main(sys.argv[1:], _serve))
