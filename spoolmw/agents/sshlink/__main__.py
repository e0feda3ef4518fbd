"""`python -m spoolmw.agents.sshlink FD...`: serves one host for each socket, and ends with the daemon."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading

from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.agents.sshlink import lacking
from spoolmw.runner import process, wire

_lacks: ImportError | None = None
try:
    from spoolmw.agents.sshlink.hostlink import HostLink
except ImportError as error:
    _lacks = error

_SWITCH_S = 0.001  #: between threads: small frames shall not wait behind a large body


def main(argv: list[str]) -> int:
    """Serve until every socket is closed."""
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(argv[0]):
        return 1  # the daemon died before its death could be watched
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
    threads = [
        threading.Thread(target=_serve, args=(socket.socket(fileno=int(fd)),), daemon=True)
        for fd in argv[1:]
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return 0


def _serve(sock: socket.socket) -> None:
    sock.set_inheritable(False)
    with sock, contextlib.suppress(wire.Closed):
        if _lacks is not None:
            lacking.tell(DaemonSide(sock), _lacks)
        else:
            HostLink(sock).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
