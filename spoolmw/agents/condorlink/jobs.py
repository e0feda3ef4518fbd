"""The attempts that a link process knows of, each with its job and its folder in the spool.

Rule: all of it can be had again from the daemon, the queue and the folders.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolmw.agents.batch import packing
from spoolmw.agents.carrier.book import Given
from spoolmw.agents.condorlink.eventnews import JobId
from spoolmw.agents.condorlink.reconcile import Expected
from spoolmw.runner import outputs, parcel, sandbox
from spoolmw.runner.order import split

_NOTE = "job.json"  #: in an attempt's folder: which job it became


@dataclass(slots=True, eq=False)
class Job:
    """One attempt."""

    given: Given
    packet: str  #: as the runner will get it; empty where nobody waits for the attempt
    folder: Path
    id: JobId | None = None
    is_running: bool = False
    host: str = ""
    slot: str = ""
    started_at: float = 0.0  #: wall clock
    is_stopping: bool = False  #: nobody waits for it, but its job may still be there
    is_wanted: bool = False  #: its task goes on elsewhere, from what it saved
    kept: tuple[int, int] = (-1, 0)  #: what the queue said last of what it saved
    is_told: bool = False  #: how it ended is told

    @property
    def attempt(self) -> str:
        return self.given.attempt

    @property
    def home(self) -> Path:
        """Where comes back what the job made."""
        return self.folder / packing.HOME

    @property
    def out(self) -> Path:
        return self.home / sandbox.OUT

    @property
    def has_report(self) -> bool:
        return (self.out / parcel.REPORT).exists()

    @property
    def waits_to_be_submitted(self) -> bool:
        return self.id is None and not self.is_stopping and not self.is_told

    def expected(self) -> Expected:
        return Expected(self.given.token, self.id, self.has_report)

    def note(self, job: JobId) -> None:
        """Remember which job it became."""
        self.id = job
        self._write()

    def has_started(self, host: str, slot: str, at: float) -> None:
        """It runs there; remembered, so that who finds its report knows whose it is."""
        self.is_running = True
        if (host, slot) != (self.host, self.slot):
            self.host, self.slot = host, slot
            self._write()
        self.started_at = at

    def _write(self) -> None:
        half = self.folder / f".{_NOTE}"
        with contextlib.suppress(OSError):  # the queue knows it too
            half.write_text(json.dumps([self.id, self.host, self.slot]))
            half.replace(self.folder / _NOTE)

    def read_note(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            told = json.loads((self.folder / _NOTE).read_text())
            (cluster, proc), self.host, self.slot = told
            self.id = int(cluster), int(proc)


class Jobs:
    """By attempt, and by job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_attempt: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._by_attempt.values()))

    def __len__(self) -> int:
        return len(self._by_attempt)

    def get(self, attempt: str) -> Job | None:
        return self._by_attempt.get(attempt)

    def by_id(self) -> dict[JobId, Job]:
        return {each.id: each for each in self._by_attempt.values() if each.id is not None}

    def enter(self, work: list[Any], *, are_new: bool) -> None:
        """The attempts of a launch frame's work; those that are known stay as they are."""
        for kind, packets in work:
            for packet in packets:
                attempt, token, path = packet.split("\n", 3)[:3]
                if attempt in self._by_attempt:
                    continue
                given = Given(attempt, token, split(path)[0], kind)
                job = Job(given, packet, self._folder / attempt)
                if not are_new:
                    job.read_note()
                self._by_attempt[attempt] = job

    def enter_stray(self, attempt: str, token: str, job: JobId) -> None:
        """A job that nobody waits for; it is followed until it is gone."""
        if attempt not in self._by_attempt:
            given = Given(attempt, token, "", {})
            stray = Job(given, "", self._folder / attempt, id=job, is_stopping=True)
            self._by_attempt[attempt] = stray

    def drop(self, job: Job) -> None:
        """Forget it, with its folder."""
        self._by_attempt.pop(job.attempt, None)
        with contextlib.suppress(OSError):
            outputs.remove(str(job.folder))

    def sweep(self) -> None:
        """Remove folders of attempts that nobody knows."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in self._by_attempt:
                    outputs.remove(str(self._folder / name))
