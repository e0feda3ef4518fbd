"""`python -m spoolmw.agents.sshlink PPID FD...`: serves one host for each socket."""

from __future__ import annotations

import logging
import socket
import sys

from spoolmw.agents.carrier import serving
from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.agents.sshlink import lacking

_lacks: ImportError | None = None
try:
    from spoolmw.agents.sshlink.hostlink import HostLink
except ImportError as error:
    _lacks = error


def _serve(sock: socket.socket) -> None:
    if _lacks is not None:
        lacking.tell(DaemonSide(sock), _lacks)
    else:
        HostLink(sock).run()


if __name__ == "__main__":
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
    sys.exit(serving.main(sys.argv[1:], _serve))
