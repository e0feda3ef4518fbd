"""Where the replicas of one task stand, and how far their vote is.

A task that wants redundancy has a `Ballot`; all its replicas, the first one too, stand in it.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from spoolmw.model.attempt import Lease, Ran, Saved
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.record import record
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.spec import Retry


class ReplicaState(Enum):
    """Where one replica stands. VALID, INVALID, FAILED and CANCELLED are ends of it."""

    PENDING = "pending"  #: waits for a slot, or for `not_before`
    RUNNING = "running"  #: an attempt holds a lease on an agent
    REPORTED = "reported"  #: its result stands in `stage/` and waits for its verdict
    VALID = "valid"  #: its result equals the canonical one
    INVALID = "invalid"  #: its result is another than the canonical one
    FAILED = "failed"  #: no attempt of it gave a result that could be compared
    CANCELLED = "cancelled"  #: it was not needed any more

    # Members are single, so identity will do; Enum's own hash is a Python call on every look-up.
    __hash__ = object.__hash__


class Verdict(Enum):
    """What the validator's classes say of one result."""

    VALID = "valid"
    INVALID = "invalid"
    INCONCLUSIVE = "inconclusive"  #: nobody knows: there was no agreement

    __hash__ = object.__hash__


class Phase(Enum):
    """How far the vote on one task is."""

    OPEN = "open"  #: replicas are wanted, or run
    JUDGING = "judging"  #: a validation of the results at hand is under way
    AGREED = "agreed"  #: there is a canonical result
    GIVEN_UP = "given up"  #: there will be none, unless somebody adjudicates
    WITHDRAWN = "withdrawn"  #: the user cancelled the task

    __hash__ = object.__hash__


@record(frozen=True, slots=True)
class Class:
    """Results that are equal to each other, each to each.

    `centre` is the one to stand for them. `near` are results outside of the class that equal
    the centre nevertheless: where closeness is not transitive there are such.
    """

    members: tuple[int, ...]  #: numbers of replicas, rising
    centre: int
    near: tuple[int, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where an attempt runs, as far as the independence of replicas is concerned."""

    machine: str  #: the machine's id, not its name: two agents may reach the same one
    owner: str = ""  #: whose machine it is
    slot: str = ""
    platform: str = ""  #: as "linux-x86_64"
    host: str = ""  #: the machine's name, for people


@record(frozen=True, slots=True, kw_only=True)
class Replica:
    """One independent execution of a task, and one vote.

    `attempt` counts launches and fences. `lease` is set exactly in RUNNING, `staged` exactly in
    REPORTED, VALID and INVALID.
    """

    task: TaskId
    number: int
    state: ReplicaState = ReplicaState.PENDING
    attempt: int = 0
    lease: Lease | None = None
    spot: Spot | None = None  #: of the newest attempt
    until: float = 0.0  #: boot-time clock; the deadline of the attempt at hand, 0: none
    overdue: bool = False  #: it missed its deadline: another replaced it, but it may yet report
    failures: int = 0  #: attempts blamed on the task
    losses: int = 0  #: in a row
    not_before: float = 0.0  #: boot-time clock; a backoff ends then
    staged: AttemptId | None = None
    body_bytes: int = 0
    digest: str = ""
    files: bool = False
    verdict: Verdict = Verdict.INCONCLUSIVE
    message: str = ""  #: why it failed, or was cancelled
    history: tuple[Ran, ...] = ()
    memory_bytes: int = 0  #: asked for now; grows by `[retry] memory`
    saved: Saved | None = None  #: the newest checkpoint that was told of and counts
    since: int = 0  #: checkpoints of attempts below this number do not count

    @property
    def attempt_id(self) -> AttemptId:
        """The name of the newest attempt (number 0: none yet)."""
        return AttemptId(self.task, self.number, self.attempt)


@record(frozen=True, slots=True, kw_only=True)
class Ballot:
    """The replicas of one task, by number, and what was found when they were compared."""

    task: TaskId
    wish: Redundancy
    retry: Retry = field(default_factory=Retry)
    replicas: tuple[Replica, ...] = ()
    phase: Phase = Phase.OPEN
    round: int = 0  #: counts validations; only the newest one's word counts
    asked: tuple[int, ...] = ()  #: whose results the newest validation compares
    classes: tuple[Class, ...] = ()  #: as the last validation found them
    alone: bool = False  #: the one replica runs on a host that has earned it
    platform: str = ""  #: of the first result, where the wish is `alike`
    extra: int = 0  #: replicas granted by hand, beyond the limit
    attempts: int = 0  #: number of the attempt that each new replica counts on from (`retry`)
    fresh: bool = False  #: new replicas begin without the checkpoints of earlier attempts
    memory_bytes: int = 0  #: that each new replica asks for
    canonical: int | None = None  #: set exactly in AGREED
    judge_after: float = 0.0  #: boot-time clock; the next validation not before
    judge_failures: int = 0  #: validations in a row that came to nothing
    message: str = ""  #: how it ended
    fault: bool = False  #: it ended by the validator's fault
