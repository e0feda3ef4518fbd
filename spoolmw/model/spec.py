"""What a user asked for: the resolved header of a task file.

Every field has the default that an empty header gives. Sizes are in bytes, durations in
seconds. The sections are shared between tasks that asked for the same (`format` interns them).
"""

from __future__ import annotations

from dataclasses import field

from spoolmw.model.ids import TaskId
from spoolmw.model.record import record
from spoolmw.model.redundancy import Redundancy

GB = 1_000_000_000
MOST_PRIORITY = 1_000_000_000  #: of a task, above 0 and below


@record(frozen=True, slots=True, kw_only=True)
class Run:
    """What to execute.

    With `script` the body is a script's text, started through its own shebang (`command` then
    holds further arguments); else `command` when there is one; else the Python call in the body.
    """

    command: tuple[str, ...] = ()
    script: bool = False
    env: tuple[tuple[str, str], ...] = ()
    result: str = "auto"  #: codec of a call's value: "auto", "safe" or "pickle"


@record(frozen=True, slots=True)
class Input:
    """One input file: where the attempt finds it, and its content (hex sha256 in `inputs/`)."""

    name: str
    digest: str = ""
    size_bytes: int = 0
    executable: bool = False


@record(frozen=True, slots=True, kw_only=True)
class Files:
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()  #: glob patterns; empty: every file that is new at the end


@record(frozen=True, slots=True, kw_only=True)
class Resources:
    cpus: int = 1
    memory_bytes: int = 0  #: 0: no limit and no reservation
    gpus: int = 0


@record(frozen=True, slots=True, kw_only=True)
class Limits:
    time_s: float = 0.0  #: wall time of one attempt; 0: none
    output_bytes: int = GB  #: stdout, stderr and outputs together


@record(frozen=True, slots=True, kw_only=True)
class Retry:
    """Further attempts after a failure blamed on the task.

    `on` holds "exit:N", "exit" (any non-zero), "exception", "signal", "timeout", "memory".
    """

    max: int = 2
    backoff_s: float = 10.0  #: doubles with each failure, with jitter, up to one hour
    memory_factor: float = 2.0  #: asked for after running out of memory
    on: tuple[str, ...] = ("signal", "timeout", "memory")


@record(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How a task saves its progress. `exit_code` and `files` are for commands that asked for it."""

    asked: bool = False  #: the header has a section [checkpoint]
    every_s: float = 600.0
    exit_code: int = 85  #: "I saved my state; start me again" (HTCondor's checkpoint_exit_code)
    files: tuple[str, ...] = ()  #: glob patterns in the working directory
    keep: bool = False  #: keep the checkpoints of a task that is done


@record(frozen=True, slots=True, kw_only=True)
class Place:
    agents: tuple[str, ...] = ()  #: empty: any
    interpreter: str = ""
    python: str = ""  #: minor version, as "3.11"
    platform: str = ""  #: as "linux-x86_64"


@record(frozen=True, slots=True, kw_only=True)
class Array:
    """Which elements a task stands for: the indexes of `ranges`, one after the other.

    A range is (first, last, step), each above the one before it. The lines of a `file` are the
    indexes 1 to their number; of a file that is not accepted yet nobody knows how many.
    """

    ranges: tuple[tuple[int, int, int], ...] = ()
    file: Input | None = None


@record(frozen=True, slots=True, kw_only=True)
class Body:
    """The bytes behind the header: a call ("pickle"), the calls of an array ("calls"), "script",
    the functions that compare a command's results ("functions"), or ""."""

    codec: str = ""
    size_bytes: int = 0
    sha256: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Spec:
    """A task as asked for. `name` is never empty once parsed.

    `after` names predecessors by id, key or name; `takes` are the ids of those among them whose
    values stand in the call's arguments.
    """

    name: str
    key: str = ""
    priority: int = 0
    after: tuple[str, ...] = ()
    after_failed: str = "fail"  #: or "hold": what a predecessor that failed makes of this task
    takes: tuple[TaskId, ...] = ()
    run: Run = field(default_factory=Run)
    files: Files = field(default_factory=Files)
    resources: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    place: Place = field(default_factory=Place)
    array: Array | None = None  #: of an array; its elements have none
    redundancy: Redundancy = field(default_factory=Redundancy)
