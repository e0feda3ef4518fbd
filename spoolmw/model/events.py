"""Facts, named in the past tense. `at` is the boot-time clock in seconds: the only "now" rules see."""

from __future__ import annotations

from spoolmw.model.attempt import Blame, Cause, Outcome, Saved
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.record import record
from spoolmw.model.replica import Verdict
from spoolmw.model.task import Task
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
    Placed,
)


@record(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A file was accepted; `task` is the whole new record (QUEUED, HELD, or WAITING for others)."""

    at: float
    task: Task


@record(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A slot was found: the attempt gets its number and its token before anything starts."""

    at: float
    agent: AgentName
    token: str
    wall: float  #: wall clock of the assignment


@record(frozen=True, slots=True, kw_only=True)
class Started:
    """The agent says that the attempt really runs (sent only for attempts longer than 0.1 s)."""

    at: float
    attempt: AttemptId
    started_at: float
    host: str = ""
    slot: str = ""
    machine: str = ""  #: its id, where the agent learns it only now
    owner: str = ""  #: whose machine it is, likewise
    platform: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Reported:
    """An attempt ended by itself or by a limit; its result file stands whole in `stage/`."""

    at: float
    attempt: AttemptId
    token: str
    outcome: Outcome  #: SUCCESS or ERROR
    cause: Cause
    blame: Blame
    message: str = ""
    exit_code: int | None = None
    body_bytes: int = 0
    digest: str = ""
    files: bool = False
    host: str = ""
    slot: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    machine: str = ""  #: its id, where the agent learns it only now
    owner: str = ""  #: whose machine it is, likewise
    platform: str = ""
    jitter: float = 0.5  #: uniform in [0, 1); the reactor's, so that rules stay pure


@record(frozen=True, slots=True, kw_only=True)
class Lost:
    """An attempt ended without a result and through no (proven) fault of the task."""

    at: float
    attempt: AttemptId
    cause: Cause
    blame: Blame
    message: str = ""
    host: str = ""
    slot: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    counts: bool = True  #: False: none of the three losses (shutdown, the daemon's own death)
    dead: bool = False  #: proven: it can never report, so what it left in `stage/` may go
    jitter: float = 0.5


@record(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A running attempt took up a checkpoint, or passed over damaged ones and began anew."""

    at: float
    attempt: AttemptId
    saved: Saved | None = None  #: what it took up; None: nothing, it began anew
    message: str = ""  #: which ones were damaged and how, in one line


@record(frozen=True, slots=True, kw_only=True)
class Checkpointed:
    """A running attempt saved its progress; the checkpoint stands whole in `checkpoints/`."""

    at: float
    attempt: AttemptId
    sequence: int  #: counts the saves of one attempt, from 1
    size_bytes: int
    saved_at: float  #: wall clock


@record(frozen=True, slots=True, kw_only=True)
class Progressed:
    """A running attempt says how far it is. Not kept in the journal: it ends with the attempt."""

    at: float
    attempt: AttemptId
    fraction: float  #: from 0 to 1
    text: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Brought:
    """The user put a checkpoint in, of another task or spool: the next attempt goes on from it."""

    at: float
    saved: Saved
    by: str = ""


@record(frozen=True, slots=True, kw_only=True)
class TwinEnded:
    """The first task with the same key ended; `first` tells how."""

    at: float
    first: Task
    copied: bool  #: its result file is still there and was copied to `stage/`
    body_bytes: int = 0
    digest: str = ""
    files: bool = False
    trusted: bool = True  #: as its trailer says


@record(frozen=True, slots=True, kw_only=True)
class Resolved:
    """It is known now which tasks some words of `after` mean: `predecessors` has all, as a whole."""

    at: float
    predecessors: tuple[TaskId, ...]


@record(frozen=True, slots=True, kw_only=True)
class PredecessorsEnded:
    """All predecessors were delivered as success; or `failed` says which one never will be."""

    at: float
    failed: str = ""  #: a sentence that names the culprit
    cause: Cause = Cause.PREDECESSOR
    blame: Blame = Blame.NONE  #: the culprit's


@record(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The user does not want the task any more; `by` is who said so."""

    at: float
    by: str = ""
    wall: float = 0.0  #: wall clock, for the record of an attempt that it stops


@record(frozen=True, slots=True, kw_only=True)
class Held:
    """The user wants the task to wait until it is released."""

    at: float
    by: str = ""
    wall: float = 0.0  #: wall clock, for the record of an attempt that it stops


@record(frozen=True, slots=True, kw_only=True)
class Released:
    """The user lets a held task go on."""

    at: float
    by: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Reprioritised:
    """The user wants the task sooner, or later, than others."""

    at: float
    priority: int
    by: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Retried:
    """The user wants a failed or cancelled task to run once more; its next result has a name of its own.

    Of an array `elements` says which of those that ended are taken up: "all" that did not
    succeed, "failed" ones, or "none" (somebody opens one of them by name).
    """

    at: float
    result_name: str
    by: str = ""
    fresh: bool = False  #: from the start: the checkpoints that there are go
    elements: str = "all"


@record(frozen=True, slots=True, kw_only=True)
class Advanced:
    """Elements of an array were made or ended in this tick: what that adds to its tally."""

    at: float
    made: int = 0
    early: int = 0  #: made out of turn; below zero: their turn came
    offset: int | None = None  #: where the next line begins
    done: int = 0  #: these three are below zero for elements that were opened again
    failed: int = 0
    cancelled: int = 0
    again: int | None = None  #: how far a retry is; -1: it is through
    broken: str = ""  #: why the rest cannot be made


@record(frozen=True, slots=True, kw_only=True)
class NameTaken:
    """Somebody put a file where the result was to go; it gets another name."""

    at: float
    result_name: str


@record(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The result file stands under its name in `results/`."""

    at: float


@record(frozen=True, slots=True, kw_only=True)
class ComparedLate:
    """A replica's result that came after the delivery was held against the one delivered."""

    at: float
    report: Reported
    verdict: Verdict  #: VALID or INVALID


Event = (
    Submitted
    | Assigned
    | Started
    | Resumed
    | Checkpointed
    | Reported
    | Lost
    | TwinEnded
    | Resolved
    | PredecessorsEnded
    | Cancelled
    | Held
    | Released
    | Reprioritised
    | Retried
    | Brought
    | Advanced
    | NameTaken
    | Delivered
    | Placed
    | DeadlinePassed
    | Judged
    | JudgingFailed
    | Accepted
    | Granted
    | GivenUp
    | ComparedLate
)
