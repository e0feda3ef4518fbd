"""What a client's request means, and what it is owed: acknowledgements, orders to end, jobs. No I/O.

Memory changes first, the records are put into their queue, and whoever answers waits for them:
nothing of what stands here is said before that.

Rule 1: whatever is reported is acknowledged; only the report of the row's own host counts, and once.
Rule 2: what a host has and nobody waits for, it is told to end. What it should have and does not speak
of is sent again, or lost when it goes astray again and again.
Rule 3: a row is made for a job before its host hears of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from spoolmw.agents.boinclink import matching, reports
from spoolmw.agents.boinclink.accounts import Account
from spoolmw.agents.boinclink.callers import Callers
from spoolmw.agents.boinclink.holdings import Holdings, Job
from spoolmw.agents.boinclink.listing import Listed
from spoolmw.agents.boinclink.matching import Bounds, Seat, Wish
from spoolmw.agents.boinclink.records import FAILED, REPORTED, SENT, Host, Records, Row
from spoolmw.agents.boinclink.request import Asked, Report

_MOST_RESENDS = 5
_MOST_LACKING = 20  #: versions of Python, of one host
_BLAME_DEADLINE = "deadline"

Told = tuple[str, dict[str, Any]]
"""An event for the daemon, and its one entry."""


@dataclass(slots=True, eq=False)
class Visit:
    """What one request came to."""

    host: Host
    gave_id: bool  #: the client must be told it
    acks: tuple[str, ...] = ()
    aborts: list[str] = field(default_factory=list)
    again: list[Row] = field(default_factory=list)  #: to be sent once more
    landed: list[str] = field(default_factory=list)  #: attempts with a parcel that came
    told: list[Told] = field(default_factory=list)  #: for the daemon, once it is durable
    messages: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a project wants of hosts, and gives them."""

    name: str  #: of the agent
    bounds: Bounds
    deadline_s: float
    platforms: Collection[str]  #: of clients that get work


class Desk:
    """Decides for one project."""

    def __init__(
        self, terms: Terms, records: Records, callers: Callers, holdings: Holdings
    ) -> None:
        self._name = terms.name
        self._bounds = terms.bounds
        self._records = records
        self._callers = callers
        self._holdings = holdings
        self._deadline_s = terms.deadline_s
        self._platforms = frozenset(terms.platforms)

    # -- a client calls

    def visit(self, asked: Asked, account: Account, now: float) -> Visit:
        """Take in what a client says. Raises callers.TooMany."""
        caller = self._callers.whose(asked, account.name, now)
        visit = Visit(caller.host, caller.is_new)
        self._records.put_host(caller.host, can_wait=not caller.is_changed)
        visit.acks = tuple(dict.fromkeys(each.name for each in asked.reports))
        for each in asked.reports:
            self._heed(visit, account.owner, each, now)
        self._compare(visit, asked, account.owner, now)
        if asked.wants_work and visit.host.client_platform not in self._platforms:
            text = (
                f"This project has no work for {visit.host.client_platform or 'your platform'}."
            )
            visit.messages.append(("low", text))
        return visit

    def choose(self, asked: Asked, visit: Visit, owner: str, now: float) -> list[Job]:
        """The jobs that the host shall have now, besides those sent again; they wait no more."""
        host = visit.host
        if not asked.wants_work or host.client_platform not in self._platforms:
            return []
        has = self._holdings.count_at(host.id)
        places = matching.places(host, self._bounds, has=has, now=now)
        wish = Wish(asked.seconds, asked.instances)
        seat = self.seat_of(host, owner)
        names = self._holdings.lines.choose(host, seat, wish, places)
        return [self._holdings.jobs[each] for each in names]

    def send(self, job: Job, host: Host, listed: Listed, now: float) -> Row:
        """This job goes to this host."""
        row = Row(
            job.attempt,
            host.id,
            now,
            now + self._deadline_s,
            listed.most_bytes,
            job.given.token,
        )
        self._holdings.send(row, listed)
        return row

    def started(self, row: Row, owner: str) -> Told:
        """What the daemon is told of what was sent."""
        where = self._where(row, owner)
        entry = {"attempt": row.attempt, "slot": "", "pid": 0, "started": row.sent}
        return ("started", {**entry, **where})

    # -- what becomes of what was sent

    def landed(self, row: Row, owner: str, entry: Mapping[str, Any], now: float) -> Told:
        """A parcel held this report: as the daemon is told of it, by our clock."""
        took_s = float(entry["ended"]) - float(entry["started"])
        took_s = min(max(0.0, took_s), max(0.0, now - row.sent))
        times = {"started": now - took_s, "ended": now}
        return ("ended", {**entry, **times, **self._where(row, owner)})

    def lost(self, row: Row, owner: str, what: Mapping[str, Any], now: float) -> Told:
        """It ended without a result."""
        entry = reports.lost(row.token, row.sent, now, dict(what))
        return ("ended", {"attempt": row.attempt, **entry, **self._where(row, owner)})

    def overdue(self, row: Row, owner: str, now: float) -> Told | None:
        """Its deadline is over; None where nobody waits for it."""
        job = self._holdings.jobs.get(row.attempt)
        if job is None or row.is_unwanted:
            self._holdings.drop(row)  # a host that was silent for so long has forgotten it
            return None
        job.is_overdue = True
        host = self._callers.hosts.get(row.host)
        if host is not None:
            matching.after_failure(host, self._bounds, now)
            self._records.put_host(host, can_wait=True)
        what = {
            "cause": "connection",
            "blame": _BLAME_DEADLINE,
            "message": f"no report came within {self._deadline_s / 3600:g} h",
        }
        entry = reports.lost(row.token, row.sent, now, what)
        where = {"dead": False, **self._where(row, owner)}  # it may report yet
        return ("ended", {"attempt": row.attempt, **entry, **where})

    def learn(self, row: Row, now: float, *, is_good: bool) -> None:
        """How it went with a host decides how much it gets."""
        host = self._callers.hosts.get(row.host)
        if host is None:
            return
        if is_good:
            matching.after_success(host, self._bounds)
        else:
            matching.after_failure(host, self._bounds, now)
        self._records.put_host(host, can_wait=is_good)

    def lacks(self, row: Row, python: str, now: float, *, a_bundle_helps: bool) -> bool:
        """Its host has no Python that fits: one travels next time, if that is the right one.

        Returns whether that was news; else it is no use to try again.
        """
        host = self._callers.hosts.get(row.host)
        if host is None:
            return False
        if a_bundle_helps and not host.needs_bundle:
            host.needs_bundle = True
        elif python and python not in host.lacks:
            host.lacks = (*host.lacks, python)[-_MOST_LACKING:]
        else:
            return False
        host.learned = now
        self._records.put_host(host)
        return True

    def seat_of(self, host: Host, owner: str) -> Seat:
        return Seat(self.machine_of(host.id), owner, host.label)

    def machine_of(self, host: int) -> str:
        """Its id, by which votes are told apart."""
        return f"boinc {self._name}/{host}"

    def _where(self, row: Row, owner: str) -> dict[str, str]:
        host = self._callers.hosts.get(row.host)
        return {
            "host": host.label if host else f"host-{row.host}",
            "machine": self.machine_of(row.host),
            "owner": owner,
            "platform": host.platform if host else "",
        }

    # -- the parts of a visit

    def _heed(self, visit: Visit, owner: str, report: Report, now: float) -> None:
        """One report."""
        row = self._holdings.rows.get(report.name)
        if row is None or row.host != visit.host.id or row.state != SENT:
            return  # another's, or heard already
        job = self._holdings.jobs.get(row.attempt)
        if row.is_unwanted or job is None:
            self._holdings.drop(row)
        elif reports.is_good(report):
            self._holdings.ended(row, REPORTED, "")
            visit.landed.append(row.attempt)
        else:
            what = reports.misfortune(report)
            self._holdings.ended(row, FAILED, what.told())
            if what.is_hosts:
                self.learn(row, now, is_good=False)
            job.is_told = True
            visit.told.append(self.lost(row, owner, what._asdict(), now))

    def _compare(self, visit: Visit, asked: Asked, owner: str, now: float) -> None:
        """What the client has against what it should have."""
        has = set(asked.in_progress)
        mine = {each.attempt: each for each in self._holdings.at(visit.host.id)}
        for name in has:
            row = mine.get(name)
            if row is None or row.is_unwanted:
                visit.aborts.append(name)
        if not asked.is_whole:
            return
        for name, row in mine.items():
            if name not in has:
                self._is_astray(visit, row, owner, now)

    def _is_astray(self, visit: Visit, row: Row, owner: str, now: float) -> None:
        """The client does not speak of it: it never got it, or has forgotten it."""
        job = self._holdings.jobs.get(row.attempt)
        if row.is_unwanted or job is None:
            self._holdings.drop(row)
        elif job.is_overdue:
            return
        elif row.resends < _MOST_RESENDS:
            row.resends += 1
            visit.again.append(row)
        else:
            what = reports.Misfortune(
                "connection", "its client forgets its jobs", counts=False, is_hosts=True
            )
            self._holdings.ended(row, FAILED, what.told())
            self.learn(row, now, is_good=False)
            job.is_told = True
            visit.told.append(self.lost(row, owner, what._asdict(), now))
