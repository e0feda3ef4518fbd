"""What is special to a batch system: how a pilot is submitted, listed and removed.

An engine lives in a process of its own (`apart`), called by the section's link. It may block for two
minutes, and hold the interpreter; meanwhile pilots are served, and none is begun or removed. It keeps
nothing that it cannot find again: after a restart `listed()` tells what there is, so each job carries the
spool, the section, its seat and its digest (the order's file is named after them, if the batch system
has no better place).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

WAITS = "waits"
RUNS = "runs"
HELD = "held"  #: it will not run by itself: the link removes it, and says why

#: Where the engines are: `module:factory`, called with a Post. Imported when a section needs it.
ENGINES = {
    "process": "spoolmw.agents.pilotlink.processes:ProcessEngine",
    "condor": "spoolmw.agents.condorlink.pilots:PilotEngine",
}


class EngineTrouble(Exception):
    """The batch system cannot be asked, or refuses; the text says why, on one line."""


class Pilot(NamedTuple):
    """A pilot that is to be submitted: `PYTHON ARCHIVE pilot ORDER` in a scratch folder."""

    seat: int
    order: Path  #: a small file, readable for us alone; travels with the job
    digest: str  #: its public name


class Job(NamedTuple):
    """A job of ours that the batch system has."""

    id: str
    seat: int
    digest: str
    state: str  #: WAITS, RUNS or HELD
    why: str = ""  #: it waits or is held, on one line


class Post(NamedTuple):
    """What an engine is made with."""

    spool: Path
    section: str
    folder: Path  #: for the engine's own files
    archive: Path  #: the runner's
    pythons: tuple[str, ...] = ()  #: to be tried first on the hosts
    slots: int = 1  #: cores of each job
    memory_bytes: int = 0  #: of each job; 0: as the batch system gives
    gpus: int = 0
    lifetime_s: float = 86400.0
    grace_s: float = 30.0  #: between signal TERM and the end
    options: dict[str, Any] = {}  # noqa: RUF012  #: what the section says to this engine alone


class Engine(Protocol):
    """All calls may raise EngineTrouble or OSError."""

    poll_s: float  #: between two questions while there are pilots

    def submit(self, pilots: Sequence[Pilot]) -> None:
        """Have these run. When it raises, `listed` tells which of them there are."""

    def listed(self) -> Sequence[Job]:
        """All jobs of this spool and section that have not ended."""

    def remove(self, jobs: Sequence[Job]) -> None:
        """End these, with signal TERM and the grace where that can be had. Gone ones are no error."""

    def last_words(self, digest: str) -> str:
        """How a job ended, on one line, as far as that is known; "" otherwise."""
