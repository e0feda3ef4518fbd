"""Runs a section: looks at seats and jobs, and has pilots submitted, drained and removed.

Rule 1: nothing is concluded from a list that could not be had, nor of a pilot that is younger than it.
Rule 2: a job that no seat knows is removed; a seat whose job is gone is free, and what its pilot
had is told as lost.
Rule 3: what is to be done follows from what there is (`scaling`), so nothing is owed after a death.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from spoolmw.agents import bundle
from spoolmw.agents.pilotlink import certificate, scaling
from spoolmw.agents.pilotlink.apart import Apart
from spoolmw.agents.pilotlink.brief import Section, address_of
from spoolmw.agents.pilotlink.engine import (
    ENGINES,
    HELD,
    Engine,
    Job,
    Pilot,
    Post,
)
from spoolmw.agents.pilotlink.listener import Listener, Refused
from spoolmw.agents.pilotlink.records import Record, Records
from spoolmw.agents.pilotlink.scaling import Mood, Phase, Seat
from spoolmw.agents.pilotlink.seat import SeatLink
from spoolmw.runner.calling import digest_of

_TICK_S = 1.0
_REST_S = 30.0  #: between two looks when there is no pilot
_AGAIN_S = 5.0  #: before another try to listen
_STUBBORN_S = 15.0  #: beyond the grace; a job that was to end and has not is removed once more
_LEAST_REACH_S = 20.0


class SectionOffice:
    """Everything of one section. Its own thread is the only one that talks to the engine."""

    def __init__(self, section: Section, count: int) -> None:
        """`count` seats will enter."""
        self._section = section
        self._count = count
        self._seats: dict[int, SeatLink] = {}
        self._news = threading.Event()
        self._demand = 0
        self._mood = Mood()
        self._trouble = ""  #: why the batch system cannot be asked
        self._listed_at = 0.0  #: when the list of jobs was asked for that is known
        self._ask_at = 0.0
        self._jobs: dict[str, Job] = {}
        self._unsure: set[str] = set()  #: pilots whose submission failed, as far as is known
        self._withdrawn_at: dict[str, float] = {}
        self._told: dict[str, Any] = {}  #: what every order says
        folder = section.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.records = Records(folder)
        self._known = self.records.all()
        self.records.tidy()
        threading.Thread(target=self._run, name="office", daemon=True).start()

    def enter(self, seat: SeatLink) -> None:
        """A seat is there."""
        seat.remember(self._known.pop(seat.number, None))
        self._seats[seat.number] = seat
        self._news.set()

    def demand(self, slots: int) -> None:
        """Tasks for so many slots wait that could run here."""
        if slots > self._demand and not self._mood.failures:
            self._mood = replace(
                self._mood, until=0.0
            )  # what is new may be what pilots can run
        if slots != self._demand:
            self._demand = slots
            self._news.set()

    def wake(self) -> None:
        """A pilot came or went: look, and ask for the jobs."""
        self._ask_at = 0.0
        self._news.set()

    # -- who calls

    def _admit(self, told: Mapping[str, Any]) -> Any:
        seat, token, secret = (told.get(each) for each in ("seat", "token", "secret"))
        if not (isinstance(token, str) and isinstance(secret, str) and len(secret) >= 32):
            raise Refused("this is no hello of a pilot")
        link = self._seats.get(seat) if type(seat) is int else None
        if link is None:
            raise Refused("there is no such seat")
        return link.admit(digest_of(token), digest_of(secret))

    # -- the office's own thread

    def _run(self) -> None:
        while len(self._seats) < self._count:
            self._news.wait(_TICK_S)
            self._news.clear()
        for record in self._known.values():  # of seats that the section has no more
            self.records.drop(record)
        engine = self._open()
        while True:
            self._turn(engine)
            self._news.wait(self._rest_s(engine))
            self._news.clear()

    def _open(self) -> Engine:
        """The port and the engine; tried until there are both."""
        while True:
            try:
                mine = certificate.provide(self._section.folder)
                engine = self._engine()
                listener = Listener(
                    self._section.listen, self._section.folder, mine, self._admit
                )
            except Exception as error:  # noqa: BLE001  engines are others' code: seats shall say why
                self._tell_vacancies(f"pilots cannot be used: {' '.join(str(error).split())}")
                time.sleep(_AGAIN_S)
                continue
            host, port = address_of(self._section.advertise or self._section.listen)
            self._told = {
                "host": _name(host),
                "port": port or listener.address[1],
                "fingerprint": mine.fingerprint,
                "lifetime_s": self._section.lifetime_s,
                "grace_s": self._section.grace_s,
                "reach_s": max(_LEAST_REACH_S, self._section.idle_s),
            }
            return engine

    def _engine(self) -> Engine:
        section = self._section
        return Apart(
            ENGINES[section.engine],
            Post(
                *(section.folder.parents[2], section.name, section.folder),
                archive=bundle.publish(section.folder.parents[2] / "runner"),
                pythons=tuple(section.pythons),
                slots=section.slots,
                memory_bytes=section.memory_bytes,
                gpus=section.gpus,
                lifetime_s=section.lifetime_s,
                grace_s=section.grace_s,
                options=section.options or {},
            ),
        )

    def _rest_s(self, engine: Engine) -> float:
        now = time.monotonic()
        if any(each.phase is not Phase.EMPTY for each in self._look()):
            return min(_TICK_S, engine.poll_s)
        return min(_REST_S, max(0.05, self._mood.until - now)) if self._demand else _REST_S

    def _look(self) -> list[Seat]:
        return [self._seats[number].look() for number in sorted(self._seats)]

    def _turn(self, engine: Engine) -> None:
        if time.monotonic() >= self._ask_at and not self._could_ask(engine):
            return
        try:
            self._conclude(engine)
            self._act(engine)
        except Exception as error:  # noqa: BLE001  engines are others' code, and may come to reason
            self._ask_at = time.monotonic() + engine.poll_s
            self._mood = scaling.refused(self._mood, _line(error), time.monotonic())
        self._tell_standing()

    def _could_ask(self, engine: Engine) -> bool:
        """A batch system that is away is no failure of pilots: they go on, and more come after it."""
        try:
            self._ask(engine)
        except Exception as error:  # noqa: BLE001  engines are others' code, and may come to reason
            self._ask_at = time.monotonic() + engine.poll_s
            self._trouble = _line(error)
        else:
            self._trouble = ""
        self._tell_standing()
        return not self._trouble

    def _ask(self, engine: Engine) -> None:
        """What jobs there are; strangers and held ones go."""
        began = time.monotonic()
        self._ask_at = began + engine.poll_s  # who wakes us meanwhile moves it to the front
        jobs = engine.listed()
        self._listed_at = began
        self._jobs = {each.digest: each for each in jobs}
        self._unsure -= self._jobs.keys()
        ours = {link.record.digest for link in self._seats.values() if link.record is not None}
        strangers = [each for each in jobs if each.digest not in ours]
        if strangers:
            engine.remove(strangers)
        for link in self._seats.values():
            job = self._job_of(link)
            if job is not None and job.state == HELD:
                why = f"the batch system holds its job: {job.why}"
                self._mood = scaling.refused(self._mood, why, began)
                link.revoke(in_order=True)
                engine.remove([job])

    def _conclude(self, engine: Engine) -> None:
        """Whose job is gone."""
        now = time.monotonic()
        for link in self._seats.values():
            record = link.record
            if record is None or record.digest in self._jobs:
                continue
            end = link.is_gone(self._listed_at)
            if end is None:
                continue
            if record.digest in self._unsure:  # that is counted
                self._unsure.discard(record.digest)
                link.tell_gone("its pilot was not submitted")
                continue
            said = engine.last_words(record.digest)
            link.tell_gone(f"its pilot has ended{': ' if said else ''}{said}")
            why = f"a pilot failed{': ' if said else ''}{said}"
            told = scaling.End(
                lived_s=end.lived_s, worked=end.worked, in_order=end.in_order, why=why
            )
            self._mood = scaling.after(self._mood, told, self._section.idle_s, now)

    def _act(self, engine: Engine) -> None:
        now = time.monotonic()
        seats = self._look()
        if any([link.began_to_work() for link in self._seats.values()]):
            self._mood = Mood()
        plan = scaling.plan(self._section.bounds, seats, self._demand, self._mood, now)
        for number, why in plan.drain:
            self._seats[number].drain(why)
        withdrawn = [number for number, _ in plan.withdraw]
        for number in withdrawn:
            self._seats[number].revoke(in_order=True)
        self._remove(engine, [*withdrawn, *self._stubborn(seats, now)], now)
        if plan.submit:
            self._submit(engine, plan.submit)

    def _stubborn(self, seats: Sequence[Seat], now: float) -> list[int]:
        """Those whose connection is over and whose job should be, too."""
        patience_s = self._section.grace_s + _STUBBORN_S
        return [
            each.number
            for each in seats
            if each.phase is Phase.LEAVING
            and not self._seats[each.number].is_served
            and now > each.since + patience_s
        ]

    def _remove(self, engine: Engine, numbers: Sequence[int], now: float) -> None:
        jobs = [self._job_of(self._seats[number]) for number in numbers]
        due = [
            each
            for each in jobs
            if each is not None and now > self._withdrawn_at.get(each.digest, 0.0) + _STUBBORN_S
        ]
        if due:
            for each in due:
                self._withdrawn_at[each.digest] = now
            engine.remove(due)
            self._ask_at = 0.0

    def _submit(self, engine: Engine, numbers: Sequence[int]) -> None:
        pilots: list[Pilot] = []
        for number in numbers:
            record, order = self.records.issue(number, self._told)
            self._seats[number].submitted(record)
            pilots.append(Pilot(number, order, record.digest))
        self._ask_at = 0.0
        try:
            engine.submit(pilots)
        except BaseException:
            self._unsure |= {each.digest for each in pilots}
            raise

    # -- what is told

    def _tell_standing(self) -> None:
        now = time.monotonic()
        paused = scaling.why_paused(self._mood, now)
        for each in self._look():
            link = self._seats[each.number]
            if each.phase is Phase.EMPTY:
                link.tell_vacancy(self._trouble or paused or "no pilot is needed")
            elif each.phase is Phase.AHEAD:
                job = self._job_of(link)
                known = job.why if job is not None else ""
                more = f": {self._trouble or known}" if self._trouble or known else ""
                link.tell_vacancy(f"its pilot is submitted and has not called yet{more}")

    def _tell_vacancies(self, why: str) -> None:
        for link in self._seats.values():
            link.tell_vacancy(why)

    def _job_of(self, link: SeatLink) -> Job | None:
        record: Record | None = link.record
        return self._jobs.get(record.digest) if record is not None else None


def _name(host: str) -> str:
    """What others may call this machine by, where it listens to everybody."""
    return socket.getfqdn() if host in ("", "0.0.0.0", "::") else host  # noqa: S104


def _line(error: Exception) -> str:
    return f"the batch system: {' '.join(str(error).split())[:500]}"
