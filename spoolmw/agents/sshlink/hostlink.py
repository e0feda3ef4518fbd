"""The life of one host's link: connect, hand over, and connect again when it broke.

Rule 1: a host that cannot be used is tried again by itself, for ever: after 1 s, then twice as
long each time up to a minute, with jitter; after five failures in a row the agent is paused for
longer, and says why.
Rule 2: the first words of each connection are the keeper's hello; nothing is launched before.
"""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoolmw.agents.carrier.served import Served
from spoolmw.agents.carrier.session import Session
from spoolmw.agents.carrier.trouble import HostTrouble, odd
from spoolmw.agents.sshlink import bootstrap
from spoolmw.agents.sshlink.connection import Connection
from spoolmw.agents.sshlink.target import resolve
from spoolmw.errors import SpoolmwError
from spoolmw.format.hosts import HostName
from spoolmw.runner import wire

FIRST_PAUSE_S = 1.0  #: doubles with each failure
LONGEST_PAUSE_S = 60.0
MOST_FAILURES = 5  #: in a row; then the agent is paused
PAUSED_S = 300.0
_HEALTHY_S = 10.0  #: a connection that stood so long makes good for the failures before it


@dataclass(frozen=True, slots=True)
class Brief:
    """What the agent says first: which host, how to log in, and what its keeper is told."""

    host: HostName
    root: str  #: of the spool
    space: str  #: the name of our folder on the host
    setup: dict[str, Any]
    user: str = ""
    ssh_config: str = ""
    folder: str = ""  #: above `space`; empty: /var/tmp/spoolmw-UID
    pythons: list[str] = field(default_factory=list)
    bundle: bool = False  #: a Python of ours travels along

    @staticmethod
    def of(told: dict[str, Any]) -> Brief:
        return Brief(**{**told, "host": HostName(*told["host"])})

    def land(self, connection: Connection, argv: list[str]) -> bootstrap.Landed:
        """Run our program there; `argv` as for `bootstrap.land`. Raises HostTrouble."""
        return bootstrap.land(
            connection,
            argv,
            folder=self.folder,
            pythons=self.pythons,
            bundled_by=Path(self.root) if self.bundle else None,
        )


class HostLink(Served):
    """One host, served by the thread that calls `run`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._failures = 0
        self._is_liar = False  #: the last connection ended because of what the host said

    def run(self) -> None:
        """Serve until the daemon is gone, which raises wire.Closed."""
        brief: Brief | None = None
        while brief is None:
            for told in self._daemon.hear(60.0):
                if told["do"] == "brief":
                    brief = Brief.of(told["brief"])
                self._note(told)
        while True:
            why = self._serve_once(brief)
            self._rest(why)

    def _serve_once(self, brief: Brief) -> Exception:
        """One connection, from its beginning to why it ended."""
        connection = None
        session = None
        try:
            target = resolve(brief.host, user=brief.user, config=brief.ssh_config)
            connection = Connection(target)
            landed = brief.land(connection, ["attach", "{base}/" + brief.space])
            session = Session(
                landed.way, brief.setup, brief.root, self._book, self._daemon.tell
            )
            self._serve(session)
            why: Exception | None = None
        except (HostTrouble, OSError) as error:
            why = error
        except wire.Closed:
            raise
        except Exception as error:  # noqa: BLE001  one odd host shall not end the link of all
            why = odd(error)
        finally:
            own = session.close() if session is not None else None
            if connection is not None:
                connection.close()
        self._weigh(session)
        return own or why or OSError("the connection ended")

    def _weigh(self, session: Session | None) -> None:
        """Whether the host counts as one that works, after this connection."""
        self._is_liar = session is not None and session.is_garbage
        if session is not None and not self._is_liar and _stood(session):
            self._failures = 0
        else:
            self._failures += 1

    def _rest(self, why: Exception) -> None:
        """Say why, and wait before the next try; `hurry` from the daemon ends the wait."""
        pause_s = _pause_s(self._failures)
        told = (
            {"what": why.what, "why": why.why, "fix": why.fix}
            if isinstance(why, SpoolmwError)
            else {"what": getattr(why, "strerror", "") or str(why), "why": "", "fix": ""}
        )
        stage = why.stage if isinstance(why, HostTrouble) else "link"
        self._daemon.tell(
            {
                "event": "down",
                **told,
                "stage": stage,
                "failures": self._failures,
                "paused": self._failures >= MOST_FAILURES,
                "garbage": self._is_liar,
                "again_s": pause_s,
            }
        )
        self._is_hurried = False
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self._is_hurried:
            for each in self._daemon.hear(until - time.monotonic()):
                self._note(each)


def _pause_s(failures: int) -> float:
    if failures >= MOST_FAILURES:
        whole = PAUSED_S
    else:
        whole = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** max(0, failures - 1))
    return whole * random.uniform(0.7, 1.0)  # noqa: S311  # spreads many hosts, no secret


def _stood(session: Session) -> bool:
    return time.monotonic() - session.began_at > _HEALTHY_S
