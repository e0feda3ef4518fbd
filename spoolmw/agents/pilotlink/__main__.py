"""`python -m spoolmw.agents.pilotlink PPID FD...`: serves a section's seats, one for each socket, and
ends with the daemon. Pilots go on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import Any

from spoolmw.agents.pilotlink.brief import Section
from spoolmw.agents.pilotlink.office import SectionOffice
from spoolmw.agents.pilotlink.seat import SeatLink
from spoolmw.runner import process, wire

_SWITCH_S = 0.001  #: between threads: small frames shall not wait behind a large body


class Door:
    """The seats' way to the office, which the first of them opens."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._office: SectionOffice | None = None

    def enter(self, seat: SeatLink, told: dict[str, Any]) -> SectionOffice:
        with self._lock:
            if self._office is None:
                self._office = SectionOffice(Section(**told), self._count)
            office = self._office
        office.enter(seat)
        return office


def main(argv: list[str]) -> int:
    """Serve until every socket is closed."""
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(argv[0]):
        return 1  # the daemon died before its death could be watched
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    os.umask(0o077)
    door = Door(len(argv) - 1)
    threads = [
        threading.Thread(target=_serve, args=(socket.socket(fileno=int(fd)), door), daemon=True)
        for fd in argv[1:]
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return 0


def _serve(sock: socket.socket, door: Door) -> None:
    sock.set_inheritable(False)
    with sock, contextlib.suppress(wire.Closed):
        SeatLink(sock).run(door.enter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
