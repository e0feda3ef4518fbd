"""What the queue and the history say, against what the spool expects: what must follow. No I/O.

Rule 1: an attempt whose job is in the queue is never submitted again.
Rule 2: a job whose attempt nobody waits for is removed, and of two jobs of one attempt the later.
Rule 3: a report in the attempt's folder counts, whatever the queue says.
Rule 4: a job that was removed stays in the queue until what it saved was fetched; it is over when it
has left its host.
Rule 5: what was noted as submitted and is nowhere is lost; what was not noted was never submitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from spoolmw.agents.condorlink.eventnews import JobId


class Status(Enum):
    """JobStatus of a job ad."""

    IDLE = 1
    RUNNING = 2
    REMOVED = 3  #: being removed
    COMPLETED = 4
    HELD = 5
    TRANSFERRING = 6
    SUSPENDED = 7


RUNS = (Status.RUNNING, Status.TRANSFERRING, Status.SUSPENDED)


class Seen(NamedTuple):
    """A job of ours, in the queue or in the history."""

    job: JobId
    attempt: str
    token: str
    status: Status
    host: str = ""
    slot: str = ""
    started_at: float = 0.0
    hold_code: int = 0
    hold_subcode: int = 0
    text: str = ""  #: why it is held, or was removed
    sign: int = -1  #: how old its starter was when it last said a word; -1: it never did
    is_moving: bool = False  #: its files are under way
    log: str = ""  #: the path of the log that it writes into
    spooled: bool = True  #: False: whoever should have brought its input to the schedd died
    is_on_host: bool = False
    kept: tuple[int, int] = (-1, 0)  #: number of its last handed-over checkpoint, and of starts

    @property
    def is_over(self) -> bool:
        """Removed, and nothing of it runs any more."""
        return self.status is Status.REMOVED and not self.is_on_host


class Expected(NamedTuple):
    """An attempt that somebody waits for."""

    token: str
    job: JobId | None = None  #: as it was noted
    has_report: bool = False  #: a whole one lies in its folder


class Verb(Enum):
    """What must follow for an attempt, or for a job."""

    ADOPT = "adopt"  #: it is in the queue: watch it
    COLLECT = "collect"  #: it has ended: take what it made
    SUBMIT = "submit"
    HELD = "held"
    REMOVED = "removed"  #: somebody took it out of the queue
    LOST = "lost"  #: it left the queue without a word
    REMOVE = "remove"  #: the job is nobody's
    FORGET = "forget"  #: so is this one, and it is over
    WAIT = "wait"  #: it is being removed, and may still save


class Step(NamedTuple):
    verb: Verb
    attempt: str
    seen: Seen | None = None


def reconcile(
    expected: Mapping[str, Expected], queue: Iterable[Seen], history: Iterable[Seen]
) -> list[Step]:
    """Every expected attempt once, and every job of the queue that is nobody's."""
    own, steps = _sorted_out(expected, queue)
    past: dict[str, Seen] = {}
    for each in history:
        if each.attempt in expected and each.token == expected[each.attempt].token:
            known = past.get(each.attempt)
            if known is None or each.job > known.job:
                past[each.attempt] = each
    for attempt, wanted in expected.items():
        steps.append(_step(attempt, wanted, own.get(attempt), past.get(attempt)))
    return steps


def missing(expected: Mapping[str, Expected], queue: Iterable[Seen]) -> list[str]:
    """The attempts for which only the history can tell what became of their jobs."""
    there = {each.attempt for each in queue}
    return [a for a, wanted in expected.items() if a not in there and not wanted.has_report]


def _sorted_out(
    expected: Mapping[str, Expected], queue: Iterable[Seen]
) -> tuple[dict[str, Seen], list[Step]]:
    """The one job of each expected attempt, and those to remove."""
    own: dict[str, Seen] = {}
    steps: list[Step] = []
    for each in sorted(queue, key=lambda each: (each.status is Status.REMOVED, each.job)):
        wanted = expected.get(each.attempt)
        is_own = wanted is not None and _is_of(each, wanted)
        if is_own and each.attempt not in own:
            own[each.attempt] = each
        elif each.is_over:
            steps.append(Step(Verb.FORGET, each.attempt, each))
        elif each.status is not Status.REMOVED:
            steps.append(Step(Verb.REMOVE, each.attempt, each))
    return own, steps


def _is_of(job: Seen, wanted: Expected) -> bool:
    """Whether it is the attempt's, whole: what was noted was given all its files before."""
    return wanted.token == job.token and (job.spooled or wanted.job == job.job)


def _step(attempt: str, wanted: Expected, job: Seen | None, past: Seen | None) -> Step:
    if job is not None:
        return _of_queued(attempt, wanted, job)
    if wanted.has_report or (past is not None and past.status is Status.COMPLETED):
        return Step(Verb.COLLECT, attempt, past)
    if past is not None:
        return Step(Verb.REMOVED, attempt, past)
    return Step(Verb.SUBMIT if wanted.job is None else Verb.LOST, attempt)


def _of_queued(attempt: str, wanted: Expected, job: Seen) -> Step:
    if job.status is Status.COMPLETED:
        return Step(Verb.COLLECT, attempt, job)
    if job.status is Status.HELD:
        return Step(Verb.HELD, attempt, job)
    if job.status is Status.REMOVED:
        if wanted.has_report:
            return Step(Verb.COLLECT, attempt, job)
        return Step(Verb.REMOVED if job.is_over else Verb.WAIT, attempt, job)
    return Step(Verb.ADOPT, attempt, job)
