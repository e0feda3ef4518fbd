"""The facts of a vote, named in the past tense: of its replicas, its validations, and by hand.

`Dropped`, `Sentenced` and `FoundUnfit` are what the ballot tells one replica; nobody else does.
"""

from __future__ import annotations

from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.record import record
from spoolmw.model.replica import Class, Spot, Verdict


@record(frozen=True, slots=True, kw_only=True)
class Placed:
    """A slot was found for a replica; the attempt has its token before anything starts."""

    at: float
    replica: int
    agent: AgentName
    token: str
    wall: float  #: wall clock of the assignment
    spot: Spot
    trusted: bool = False  #: the host has earned it to run a replica alone (`trust.runs_alone`)
    agent_trusted: bool = True  #: as the agent's `Capacity` says


@record(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """An attempt has not reported in time."""

    at: float
    attempt: AttemptId


@record(frozen=True, slots=True, kw_only=True)
class Judged:
    """A validation compared the results that it was asked for."""

    at: float
    round: int
    classes: tuple[Class, ...]
    unfit: tuple[tuple[int, str], ...] = ()  #: results that are none, each with the reason


@record(frozen=True, slots=True, kw_only=True)
class JudgingFailed:
    """A validation came to nothing: by the validator's own fault, or for now."""

    at: float
    round: int
    message: str
    transient: bool = False  #: it may be otherwise another time (exit code 3, a lost worker)
    jitter: float = 0.5  #: uniform in [0, 1)


@record(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Somebody decided by hand that this replica's result is the right one."""

    at: float
    replica: int
    by: str = ""
    result_name: str = ""  #: of a task that had failed: its next result's


@record(frozen=True, slots=True, kw_only=True)
class Granted:
    """Somebody wants so many replicas more, whatever the limit says."""

    at: float
    replicas: int
    by: str = ""
    result_name: str = ""  #: of a task that had failed: its next result's


@record(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Somebody decided by hand that there will be no result."""

    at: float
    by: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A replica is not needed any more; with `closed` its late report is worth nothing either."""

    at: float
    message: str = ""
    closed: bool = False


@record(frozen=True, slots=True, kw_only=True)
class Sentenced:
    """The verdict on one replica's result."""

    at: float
    verdict: Verdict


@record(frozen=True, slots=True, kw_only=True)
class FoundUnfit:
    """The validator says that one replica's result is none at all."""

    at: float
    message: str
