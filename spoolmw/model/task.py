"""Where a task stands. A task without redundancy is one record: its only replica stands inline.

The replicas of one with redundancy, the first one too, stand in its `ballot`.
"""

from __future__ import annotations

from enum import Enum

from spoolmw.model.attempt import Blame, Cause, Lease, Ran, Saved
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.record import record
from spoolmw.model.replica import Ballot
from spoolmw.model.spec import Spec


class TaskState(Enum):
    """Where one task stands. Every task ends in one of the FINAL states, with one result file."""

    WAITING = "waiting"  #: for its predecessors, or for the first task with the same key
    QUEUED = "queued"  #: ready; waits for a slot, or for `not_before`
    HELD = "held"  #: by the user, until released
    EXPANDING = "expanding"  #: an array: its elements run, further ones are made as room comes
    RUNNING = "running"  #: an attempt holds a lease on an agent
    VALIDATING = "validating"  #: the results of its replicas are being compared
    DELIVERING = "delivering"  #: the end is decided; the result file is on its way
    DONE = "done"  #: delivered as success
    FAILED = "failed"  #: delivered as failure
    CANCELLED = "cancelled"  #: delivered as cancelled

    # Members are single, so identity will do; Enum's own hash is a Python call on every look-up.
    __hash__ = object.__hash__


FINAL = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED})


@record(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is to be delivered, and as what the task then ends.

    `staged` is the attempt whose file in `stage/` is the result; None: the daemon writes
    the body itself from this record (cancelled before a start, lost three times).
    """

    state: TaskState  #: DONE, FAILED or CANCELLED
    cause: Cause
    blame: Blame
    message: str = ""
    staged: AttemptId | None = None
    body_bytes: int = 0  #: length of the staged file without its trailer
    digest: str = ""  #: hex sha256 of the staged body (header and value)
    files: bool = False  #: a folder `stage/ATTEMPT.files` goes with it
    copy_of: TaskId | None = None  #: the result is a copy of this task's (same key)
    trusted: bool = True  #: who wrote the staged file is; else nobody ever unpickles it


@record(frozen=True, slots=True)
class Element:
    """Which part of an array a task is."""

    array: TaskId
    position: int  #: from 0, in the order in which elements are made
    index: int  #: as the user counts: `{index}`
    line: str | None = None  #: of the array's file: `{line}`


@record(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far an array is: numbers only, so that a million elements weigh as much as one.

    The elements at positions below `made` are tasks, or were; so are `early` ones above, which
    somebody named before it was their turn.
    """

    total: int
    made: int = 0
    early: int = 0
    skipped: int = 0  #: given up before they were made: the array was cancelled
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    offset: int = (
        0  #: where in the array's file the line of the element `made` begins, in bytes
    )
    again: int = (
        -1
    )  #: position from which on a retry of ended elements goes on; -1: there is none
    again_all: bool = False  #: it takes up cancelled elements too, not only failed ones
    again_fresh: bool = False  #: it takes them up without their checkpoints
    note: str = ""  #: why elements were skipped
    name: str = (
        ""  #: what its elements' results begin with, where its own has another name by now
    )
    broken: bool = False  #: not by the user's will
    adopted: bool = False  #: the journal was lost: its elements may have left checkpoints

    @property
    def unmade(self) -> int:
        """Elements that are still to become tasks."""
        return self.total - self.made - self.early - self.skipped

    @property
    def open(self) -> int:
        """Elements that are tasks and have not ended."""
        return self.made + self.early - self.done - self.failed - self.cancelled


@record(frozen=True, slots=True, kw_only=True)
class Task:
    """A task and its one replica; or an array or a vote, which have no attempts of their own.

    `attempt` counts launches; it is also the fencing token. `lease` is set exactly in
    RUNNING, `ending` exactly in DELIVERING and the final states.
    """

    seq: int  #: order of acceptance; the row's number in the journal
    id: TaskId
    box: str  #: "" for none
    dropped: str  #: the dropped file's name; `active/xx/ID~BOX~DROPPED`
    result_name: str  #: `results/BOX/RESULT_NAME.result`
    spec: Spec
    body_sha256: str = ""
    submitted_at: float  #: wall clock
    priority: int = 0
    state: TaskState = TaskState.QUEUED
    attempt: int = 0
    lease: Lease | None = None
    failures: int = 0  #: attempts blamed on the task since the last user's retry
    losses: int = 0  #: in a row, without a checkpoint in between
    not_before: float = 0.0  #: boot-time clock; a backoff ends then
    memory_bytes: int = 0  #: asked for now; grows by `[retry] memory`
    ending: Ending | None = None
    history: tuple[Ran, ...] = ()
    twin_of: TaskId | None = None  #: the task with this key before it; only in WAITING and HELD
    saved: Saved | None = None  #: the newest checkpoint that was told of and counts
    since: int = 0  #: checkpoints of attempts below this number do not count (`retry --fresh`)
    waits: bool = False  #: for its predecessors; only in WAITING and HELD
    predecessors: tuple[TaskId, ...] = ()  #: beside `spec.after`; "" where nobody is known yet
    element: Element | None = None  #: of an element; its file is its array's
    tally: Tally | None = None  #: of an array
    ballot: Ballot | None = None  #: of a task with redundancy; its attempts stand there

    @property
    def attempt_id(self) -> AttemptId:
        """The name of the newest attempt (number 0: none yet)."""
        return AttemptId(self.id, 0, self.attempt)
