"""What every link process is: it serves the sockets that it was started with (`process.Link`), and
ends with the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from spoolmw.runner import process, wire

_SWITCH_S = 0.001  #: between threads: small frames shall not wait behind a large body


def main(argv: Sequence[str], serve: Callable[[socket.socket], None]) -> int:
    """`argv` is `PPID FD...`: call `serve` with each socket, until all are closed.

    A single one is served by the main thread, several by a thread each. `serve` may raise
    wire.Closed. The umask stays the daemon's: what is staged is delivered with the mode that it
    has, so what nobody else may read is made with a mode that says so.
    """
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(argv[0]):
        return 1  # the daemon died before its death could be watched
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    socks = [socket.socket(fileno=int(fd)) for fd in argv[1:]]
    for each in socks:
        each.set_inheritable(False)
    if len(socks) == 1:
        _serve(socks[0], serve)
        return 0
    threads = [
        threading.Thread(target=_serve, args=(each, serve), daemon=True) for each in socks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _serve(sock: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with sock, contextlib.suppress(wire.Closed):
        serve(sock)
