"""`python -m spoolmw.agents.pilotlink PPID FD...`: serves a section's seats, one for each socket.
Pilots outlive it."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

from spoolmw.agents.carrier import serving
from spoolmw.agents.pilotlink.brief import Section
from spoolmw.agents.pilotlink.office import SectionOffice
from spoolmw.agents.pilotlink.seat import SeatLink


class Door:
    """The seats' way to the office, which the first of them opens."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._office: SectionOffice | None = None

    def serve(self, sock: socket.socket) -> None:
        """Serve the seat at the end of this socket. Raises wire.Closed at the end."""
        SeatLink(sock).run(self._enter)

    def _enter(self, seat: SeatLink, told: dict[str, Any]) -> SectionOffice:
        with self._lock:
            if self._office is None:
                self._office = SectionOffice(Section(**told), self._count)
            office = self._office
        office.enter(seat)
        return office


if __name__ == "__main__":
    sys.exit(serving.main(sys.argv[1:], Door(len(sys.argv) - 2).serve))
