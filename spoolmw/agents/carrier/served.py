"""What links share, whatever leads to the keeper: a session is served between daemon and host.

Rule: a launch that was meant for an earlier connection counts as lost already, and is passed over.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from spoolmw.agents.carrier.book import Book
from spoolmw.agents.carrier.frames import DaemonSide
from spoolmw.agents.carrier.session import Session

_TICK_S = 0.5
_SWEEP_S = 60.0  #: between two looks for what the host need not keep
_OURS = frozenset({"adopt", "hurry"})  #: what the daemon tells the link, not the host


class Served:
    """One host's half of the link towards the daemon, used by one thread."""

    ours = _OURS

    def __init__(self, sock: socket.socket) -> None:
        self._daemon = DaemonSide(sock)
        self._book = Book()
        self._number = 0  #: of connections
        self._is_hurried = False

    def _serve(self, session: Session) -> None:
        """Say that the host is there, then pass on until the session is over. Raises HostTrouble."""
        self._number += 1
        skew = round(float(session.hello["clock"]) - time.time(), 3)
        told = {"session": self._number, "skew": skew}
        self._daemon.tell({"event": "hello", **session.hello, **told})
        session.start()
        sweep_at = time.monotonic() + _SWEEP_S
        while not session.is_over:
            frames = self._daemon.hear(_TICK_S)
            for each in frames:
                self._note(each)
            for each in frames:
                if each["do"] not in self.ours and self._is_of_now(each):
                    session.obey(each)
            session.keep_alive()
            self._besides(session)
            if time.monotonic() > sweep_at:
                session.drop_unused()
                sweep_at = time.monotonic() + _SWEEP_S

    def _besides(self, session: Session) -> None:
        """Whatever else is to be done between two frames."""

    def _is_of_now(self, told: dict[str, Any]) -> bool:
        return told["do"] != "launch" or told.get("session") == self._number

    def _note(self, told: dict[str, Any]) -> None:
        """What counts whether the host can be reached or not."""
        verb = told["do"]
        if verb == "adopt":
            for _ in self._book.enter(told["work"]):
                pass
        elif verb == "release":
            self._book.strike(told["attempts"])
        elif verb == "hurry":
            self._is_hurried = True
