"""Orders, named in the imperative: what the world must be told once the state is committed."""

from __future__ import annotations

from spoolmw.model.attempt import Saved
from spoolmw.model.host import Mark
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.record import record
from spoolmw.model.replica import Replica, Spot
from spoolmw.model.task import Task


@record(frozen=True, slots=True)
class Start:
    """Launch the task's newest attempt on its lease's agent. Idempotent in the attempt's id."""

    task: Task


@record(frozen=True, slots=True)
class Stop:
    """End an attempt, with its whole tree of processes. Stopping an unknown one is no error."""

    agent: AgentName
    attempt: AttemptId
    is_wanted: bool = True  #: it will run again: it has the time to save its progress


@record(frozen=True, slots=True)
class Deliver:
    """Publish the result under `task.result_name`; then `Delivered` follows."""

    task: Task


@record(frozen=True, slots=True)
class Discard:
    """Remove what an attempt left in `stage/`: it will not be delivered."""

    attempt: AttemptId


@record(frozen=True, slots=True)
class Trim:
    """Keep of the replica's checkpoints `newest` and the one before it, and what is newer still.

    Those that do not count any more (of attempts below `since`) go, whatever `newest` is.
    """

    task: TaskId
    newest: Saved | None
    since: int = 0
    replica: int = 0


@record(frozen=True, slots=True)
class Forget:
    """The task is delivered: it may leave memory, and its markers the disk.

    With `payload` (it ended DONE) its file in `active/` and its inputs go too; without (FAILED,
    CANCELLED) they stay, because the user may retry the task until it is pruned.
    """

    task: Task
    payload: bool = True


@record(frozen=True, slots=True)
class StartReplica:
    """Launch the newest attempt of a replica on its lease's agent. Idempotent in the attempt's id."""

    replica: Replica


@record(frozen=True, slots=True)
class Judge:
    """Compare these results of a task; then `Judged` or `JudgingFailed` follows."""

    task: TaskId
    round: int
    replicas: tuple[int, ...]
    not_before: float = 0.0  #: boot-time clock


@record(frozen=True, slots=True)
class Score:
    """Add a mark to a host's record: in the commit that ordered it, so that it counts once.

    It is therefore owed by no state.
    """

    spot: Spot
    mark: Mark


Effect = Start | StartReplica | Stop | Judge | Score | Deliver | Discard | Trim | Forget
