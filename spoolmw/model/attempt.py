"""What one attempt is: its right to run, how it ended and through whose fault."""

from __future__ import annotations

from enum import Enum

from spoolmw.model.ids import AgentName
from spoolmw.model.record import record


class Outcome(Enum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"
    LOST = "lost"
    STOPPED = "stopped"


class Blame(Enum):
    """Whose fault a failed attempt was. Only TASK uses up the user's retries."""

    NONE = ""
    TASK = "task"
    HOST = "host"
    AGENT = "agent"
    USER = "user"
    DEADLINE = "deadline"


class Cause(Enum):
    """What ended an attempt, as `[retry] on` and the messages name it."""

    FINISHED = "finished"
    EXCEPTION = "exception"
    EXIT = "exit"
    SIGNAL = "signal"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    OUTPUT = "output"  #: more output than `[limits] output`
    MISSING_OUTPUT = "missing-output"
    CODEC = "codec"  #: the value cannot be encoded, or the call cannot be decoded
    INTERPRETER = "interpreter"  #: no fitting Python on the host
    VANISHED = "vanished"  #: the worker was killed from outside
    CONNECTION = "connection"  #: runner, connection, host or daemon died
    LAUNCH = "launch"  #: the attempt could not be started
    CANCELLED = "cancelled"
    HELD = "held"
    SHUTDOWN = "shutdown"  #: the daemon stopped and the grace period ended
    SUPERSEDED = "superseded"  #: an earlier attempt reported after all
    PREDECESSOR = "predecessor"  #: a task that it was to run after failed or was cancelled
    ELEMENTS = "elements"  #: not all elements of an array succeeded
    DISAGREEMENT = "disagreement"  #: replicas did not agree, or too many of them failed
    VALIDATOR = "validator"  #: what compares results crashed, hung or contradicted itself
    GONE = "gone"  #: a file that the task needs, or the result it was to copy, was taken away


@record(frozen=True, slots=True, kw_only=True)
class Lease:
    """An attempt's right to run. `token` (32 hex digits) proves a report to be the attempt's own."""

    agent: AgentName
    token: str
    assigned_at: float  #: wall clock, seconds since 1970
    started_at: float = 0.0  #: wall clock; 0 until the agent says so
    host: str = ""
    slot: str = ""
    trusted: bool = True  #: its agent was, when it was placed


@record(frozen=True, slots=True)
class Saved:
    """A checkpoint that stands in `checkpoints/TASK/REPLICA/ATTEMPT-SEQUENCE`."""

    attempt: int  #: that made it; 0: it was brought from another task or spool
    sequence: int  #: counts the saves of one attempt, from 1
    saved_at: float  #: wall clock, seconds since 1970
    size_bytes: int

    @property
    def order(self) -> tuple[int, int]:
        """Of two checkpoints the higher is the newer."""
        return self.attempt, self.sequence


@record(frozen=True, slots=True, kw_only=True)
class Ran:
    """One ended attempt, as the trailer and `show` tell it. Times are wall clock, in seconds."""

    attempt: int
    agent: str
    outcome: Outcome
    cause: Cause
    blame: Blame
    message: str = ""
    exit_code: int | None = None
    host: str = ""
    slot: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0  #: peak resident size
    token: str = ""  #: kept while a late report of this attempt would still count; never shown
    trusted: bool = True  #: its agent was: a pickle that it left may be decoded
