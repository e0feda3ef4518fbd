"""One seat: an agent's half of the link, and whatever pilot sits in it.

Three threads come here: the seat's own, which serves its pilot; the office's, which submits and
removes pilots; and one of the listener's, which brings a connection.
"""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from spoolmw.agents.carrier.served import Served
from spoolmw.agents.carrier.session import Session
from spoolmw.agents.carrier.trouble import HostTrouble, odd, trouble
from spoolmw.agents.pilotlink.listener import Refused
from spoolmw.agents.pilotlink.records import Record, Records
from spoolmw.agents.pilotlink.scaling import End, Phase, Seat
from spoolmw.errors import SpoolmwError
from spoolmw.runner import wire
from spoolmw.runner.secure import Secure

_UNKNOWN = (
    "its token is wrong, or was used by another, or its seat was given to another meanwhile"
)


class Office(Protocol):
    """What a seat needs of the section."""

    records: Records

    def demand(self, slots: int) -> None:
        """Tasks for so many slots wait that could run here."""

    def wake(self) -> None:
        """Something has changed: look."""


class SeatLink(Served):
    """Serves one seat; `run` is its own thread's."""

    ours = frozenset({*Served.ours, "brief", "drained", "demand"})

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._daemon.hang_bell()
        self._lock = threading.Lock()
        self._office: Office | None = None
        self._setup: dict[str, Any] = {}
        self._root = ""
        self._demand = 0
        self.number = 0
        self.record: Record | None = None
        self._phase = Phase.EMPTY
        self._since = time.monotonic()
        self._called_at = 0.0
        self._idle_since: float | None = None
        self._worked = self._has_just_worked = False
        self._in_order = False
        self._drain_why = ""
        self._drain_is_told = self._drain_is_heard = self._is_dismissed = False
        self._next: Secure | None = None
        self._is_served = False  #: a connection of its pilot
        self._is_revoked = False  #: its pilot shall not come again
        self._vacancy = ""

    def run(self, enter: Callable[[SeatLink, dict[str, Any]], Office]) -> None:
        """Serve until the daemon is gone, which raises wire.Closed."""
        brief: dict[str, Any] = {}
        while not brief:
            for told in self._daemon.hear(60.0):
                brief = told["brief"] if told["do"] == "brief" else brief
                self._note(told)
        self.number = brief["seat"]
        self._setup, self._root = brief["setup"], brief["section"]["root"]
        self._office = enter(self, brief["section"])
        if self._demand:  # one of the seats is told
            self._office.demand(self._demand)
        while True:
            way = self._await_pilot()
            why, is_liar = self._fly(way)
            self._landed(why, is_liar=is_liar)

    # -- for the office

    def look(self) -> Seat:
        """How it stands."""
        with self._lock:
            return Seat(
                number=self.number,
                phase=self._phase,
                since=self._since,
                idle_since=self._idle_since,
                called_at=self._called_at,
            )

    def remember(self, record: Record | None) -> None:
        """What an earlier link knew of it; its pilot may call, or be gone."""
        now = time.monotonic()
        if record is None:
            self._daemon.tell({"event": "gone", "why": "there is no pilot"})
            return
        with self._lock:
            self.record = record
            self._called_at = now - max(0.0, time.time() - record.called_at)
            self._worked = bool(record.secret)
            self._go(Phase.AWAY if record.secret else Phase.AHEAD)
        self._daemon.tell({"event": "vacant", "why": "its pilot has not called yet"})

    def submitted(self, record: Record) -> None:
        """A pilot is under way."""
        with self._lock:
            self.record = record
            self._go(Phase.AHEAD)

    def drain(self, why: str) -> None:
        """Have its pilot take nothing more, finish, and end."""
        with self._lock:
            if self._phase is Phase.UP:
                self._in_order = True
                self._drain_why = why
                self._go(Phase.LEAVING)
        self._daemon.ring()

    def revoke(self, *, in_order: bool) -> None:
        """Its pilot shall not come, or not come again; its job is being removed."""
        with self._lock:
            self._in_order = self._in_order or in_order
            self._is_revoked = True
            if self.record is not None:
                self._records.drop(self.record)
            self._go(Phase.LEAVING)

    def is_gone(self, listed_at: float) -> End | None:
        """Its job is not in a list that was asked for then; how it ended, if so it did."""
        with self._lock:
            settled = self._phase in (Phase.AHEAD, Phase.AWAY, Phase.LEAVING)
            if not settled or self._is_served or self._since >= listed_at:
                return None
            lived_s = self._since - self._called_at if self._called_at else None
            end = End(lived_s=lived_s, worked=self._worked, in_order=self._in_order)
            if self.record is not None:
                self._records.drop(self.record)
            self.record = None
            self._called_at = 0.0
            self._worked = self._in_order = self._is_revoked = False
            self._drain_why = ""
            self._drain_is_told = self._drain_is_heard = self._is_dismissed = False
            self._vacancy = ""
            self._go(Phase.EMPTY)
        return end

    @property
    def is_served(self) -> bool:
        """Whether there is a connection of its pilot."""
        return self._is_served

    def began_to_work(self) -> bool:
        """Whether its pilot was given its first attempt since this was last asked."""
        with self._lock:
            found, self._has_just_worked = self._has_just_worked, False
        return found

    def tell_gone(self, why: str) -> None:
        """Nothing that its pilot had will be heard of again."""
        self._daemon.tell({"event": "gone", "why": why})

    def tell_vacancy(self, why: str) -> None:
        """Why there is nobody in it, when that is something new."""
        if why != self._vacancy:
            self._vacancy = why
            self._daemon.tell({"event": "vacant", "why": why})

    # -- for the listener

    def admit(self, token: str, secret: str) -> Callable[[Secure], None]:
        """Whoever shows secrets of these digests may have the seat. Raises Refused, OSError."""
        with self._lock:
            record = self.record
            if record is None or not hmac.compare_digest(record.token, token):
                raise Refused(_UNKNOWN)
            if self._is_revoked:
                raise Refused(_UNKNOWN)
            if not record.secret:
                if self._phase is not Phase.AHEAD:
                    raise Refused(_UNKNOWN)
                self.record = self._records.called(record, secret)
                self._called_at = time.monotonic()
            elif not hmac.compare_digest(record.secret, secret):
                raise Refused(_UNKNOWN)
        return self._hand_over

    def _hand_over(self, way: Secure) -> None:
        with self._lock:
            old, self._next = self._next, way
        if old is not None:
            old.dispose()
        self._daemon.ring()

    # -- the seat's own thread

    def _await_pilot(self) -> Secure:
        while True:
            with self._lock:
                way, self._next = self._next, None
                self._is_served = way is not None
            if way is not None:
                return way
            for told in self._daemon.hear(60.0):
                self._note(told)

    def _fly(self, way: Secure) -> tuple[Exception, bool]:
        """One connection; returns why it ended, and whether that is for what the host said."""
        session: Session | None = None
        why: Exception | None = None
        try:
            session = Session(way, self._setup, self._root, self._book, self._tell)
            with self._lock:
                self._idle_since = None
                if self._phase is not Phase.LEAVING:
                    self._go(Phase.UP)
            self._serve(session)
        except wire.Closed:
            raise
        except (HostTrouble, OSError) as error:
            why = error
        except Exception as error:  # noqa: BLE001  one odd host shall not end the link of all
            why = odd(error)
        finally:
            own = session.close() if session is not None else None
            way.dispose()
        is_liar = session.is_garbage if session is not None else False
        return own or why or OSError("the connection ended"), is_liar

    def _besides(self, session: Session) -> None:
        with self._lock:
            is_relieved = self._next is not None
            busy = len(self._book)
            self._has_just_worked = self._has_just_worked or (busy > 0 and not self._worked)
            self._worked = self._worked or busy > 0
            self._idle_since = None if busy else self._idle_since or time.monotonic()
            why = self._drain_why
        if is_relieved:
            raise trouble("link", "its pilot has called anew")
        if why and not self._drain_is_told:
            self._drain_is_told = True
            self._daemon.tell({"event": "draining", "why": why})
        if self._drain_is_heard and not busy and not self._is_dismissed:
            self._is_dismissed = True
            session.obey({"do": "close", "grace_s": 0.0})

    def _landed(self, why: Exception, *, is_liar: bool) -> None:
        """The connection is over: the pilot may call again, unless it was told to end."""
        with self._lock:
            self._is_served = False
            self._idle_since = None
            self._drain_is_told = self._drain_is_heard = False
            self._go(Phase.LEAVING if self._phase is Phase.LEAVING else Phase.AWAY)
        told = {"what": str(why), "why": "", "fix": ""}
        if isinstance(why, SpoolmwError):
            told = {"what": why.what, "why": why.why, "fix": why.fix}
        rest = {"stage": "link", "failures": 0, "paused": False, "again_s": 0.0}
        self._daemon.tell({"event": "down", **told, **rest, "garbage": is_liar})
        if is_liar:
            self.revoke(in_order=False)
        assert self._office is not None
        self._office.wake()

    def _tell(self, told: dict[str, Any], data: bytes = b"") -> None:
        """Pass on what its keeper says."""
        if told["event"] == "draining":  # the batch system wants the job's place back
            with self._lock:
                self._go(Phase.LEAVING)
        self._daemon.tell(told, data)

    def _note(self, told: dict[str, Any]) -> None:
        super()._note(told)
        if told["do"] == "drained":
            self._drain_is_heard = True
        elif told["do"] == "demand":
            self._demand = told["slots"]
            if self._office is not None:
                self._office.demand(self._demand)

    def _go(self, phase: Phase) -> None:
        self._phase = phase
        self._since = time.monotonic()

    @property
    def _records(self) -> Records:
        assert self._office is not None
        return self._office.records
