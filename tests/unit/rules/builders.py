"""Tasks and events for the tests of the rules: a builder names only what matters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spoolmw.model.agent import Capacity
from spoolmw.model.attempt import Blame, Cause, Lease, Outcome, Saved
from spoolmw.model.events import (
    Checkpointed,
    Lost,
    PredecessorsEnded,
    Reported,
    Resumed,
    TwinEnded,
)
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.spec import Place, Resources, Retry, Spec
from spoolmw.model.task import Ending, Tally, Task, TaskState
from spoolmw.rules.placement import Room

TASK = TaskId("0193a0000000" + "1" * 20)
FIRST = TaskId("0193a0000000" + "0" * 20)  #: the task before it with the same key
LOCAL = AgentName("local")
NOW = 1000.0  #: boot-time clock
WALL = 1_770_000_000.0


def token(attempt: int) -> str:
    """The token that the builders give to this attempt."""
    return f"{attempt:032x}"


def an_attempt(number: int) -> AttemptId:
    return AttemptId(TASK, 0, number)


def a_task(*, retry: Retry | None = None, seq: int = 1, **changes: Any) -> Task:
    """A task that waits for a slot, as it was accepted."""
    spec = Spec(name="sum", key="k", retry=retry or Retry())
    task = Task(
        seq=seq,
        id=TASK if seq == 1 else TaskId(f"0193a0000000{seq:020x}"),
        box="",
        dropped="sum.task",
        result_name="sum",
        spec=spec,
        submitted_at=WALL,
    )
    return replace(task, **changes)


def a_demanding_task(
    seq: int,
    *,
    cpus: int = 1,
    memory: int = 0,
    gpus: int = 0,
    agents: tuple[str, ...] = (),
    **changes: Any,
) -> Task:
    """A waiting task that asks for more than one cpu, or for something else."""
    spec = Spec(
        name="sum",
        resources=Resources(cpus=cpus, memory_bytes=memory, gpus=gpus),
        place=Place(agents=agents),
    )
    return a_task(seq=seq, **{"spec": spec, "memory_bytes": memory, **changes})


def a_waiting_task(**changes: Any) -> Task:
    return a_task(state=TaskState.WAITING, **{"twin_of": FIRST, **changes})


def a_successor(**changes: Any) -> Task:
    """A task that waits for a predecessor; a failure of that one fails it."""
    waits = {"state": TaskState.WAITING, "waits": True, "predecessors": (FIRST,)}
    return a_task(**{"spec": a_spec_after(), **waits, **changes})


def a_spec_after(*words: str, after_failed: str = "fail") -> Spec:
    """A header with `after`."""
    return Spec(name="sum", key="k", after=words or (FIRST,), after_failed=after_failed)


def a_held_task(**changes: Any) -> Task:
    return a_task(state=TaskState.HELD, **changes)


def an_array(total: int = 3, **changes: Any) -> Task:
    """An array that was accepted. Named numbers go into its tally."""
    numbers = {name: changes.pop(name) for name in Tally.__slots__ if name in changes}
    tally = Tally(total=total, **numbers)
    return a_task(**{"state": TaskState.EXPANDING, "tally": tally, **changes})


def a_running_task(attempt: int = 1, **changes: Any) -> Task:
    lease = Lease(agent=LOCAL, token=token(attempt), assigned_at=WALL)
    return a_task(state=TaskState.RUNNING, attempt=attempt, lease=lease, **changes)


def an_ending(state: TaskState, attempt: int | None = 1) -> Ending:
    """How a task ends; `attempt` is the one whose file is staged."""
    return Ending(
        state=state,
        cause=Cause.FINISHED if state is TaskState.DONE else Cause.EXIT,
        blame=Blame.NONE if state is TaskState.DONE else Blame.TASK,
        staged=None if attempt is None else an_attempt(attempt),
        body_bytes=0 if attempt is None else 100,
    )


def a_delivering_task(state: TaskState = TaskState.DONE, **changes: Any) -> Task:
    return a_task(
        state=TaskState.DELIVERING, **{"attempt": 1, "ending": an_ending(state), **changes}
    )


def an_ended_task(state: TaskState, **changes: Any) -> Task:
    return a_task(state=state, **{"attempt": 1, "ending": an_ending(state), **changes})


def a_success(attempt: int = 1, **changes: Any) -> Reported:
    """The report of an attempt that ended well."""
    report = Reported(
        at=NOW,
        attempt=an_attempt(attempt),
        token=token(attempt),
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        body_bytes=100,
        digest="d" * 64,
        host="lab1",
        slot="2",
        started_at=WALL,
        ended_at=WALL + 2,
        cpu_s=1.5,
        memory_bytes=1_000_000,
    )
    return replace(report, **changes)


def a_failure(cause: Cause = Cause.EXIT, attempt: int = 1, **changes: Any) -> Reported:
    """The report of an attempt that failed by its own fault."""
    error = {"outcome": Outcome.ERROR, "cause": cause, "blame": Blame.TASK, "message": "oh"}
    code = {"exit_code": 1} if cause is Cause.EXIT else {}
    return a_success(attempt, **{**error, **code, **changes})


def a_loss(attempt: int = 1, **changes: Any) -> Lost:
    """An attempt whose worker was killed from outside."""
    lost = Lost(
        at=NOW,
        attempt=an_attempt(attempt),
        cause=Cause.VANISHED,
        blame=Blame.HOST,
        message="signal 9",
        ended_at=WALL + 3,
    )
    return replace(lost, **changes)


def a_save(attempt: int = 1, sequence: int = 1, **changes: Any) -> Checkpointed:
    """A checkpoint that an attempt says it made."""
    event = Checkpointed(
        at=NOW,
        attempt=an_attempt(attempt),
        sequence=sequence,
        size_bytes=10 * sequence,
        saved_at=WALL + sequence,
    )
    return replace(event, **changes)


def a_checkpoint(attempt: int = 1, sequence: int = 1) -> Saved:
    """The record of the checkpoint of which `a_save` tells."""
    return Saved(
        attempt=attempt, sequence=sequence, saved_at=WALL + sequence, size_bytes=10 * sequence
    )


def a_resume(attempt: int = 2, saved: Saved | None = None, message: str = "") -> Resumed:
    return Resumed(at=NOW, attempt=an_attempt(attempt), saved=saved, message=message)


def the_first_ended(state: TaskState, *, copied: bool = False, **changes: Any) -> TwinEnded:
    """What the daemon says when the task before it with the same key ended."""
    first = replace(
        a_task(), id=FIRST, state=state, ending=an_ending(state), result_name="first", **changes
    )
    return TwinEnded(at=NOW, first=first, copied=copied, body_bytes=70, digest="c" * 64)


def the_predecessors_succeeded() -> PredecessorsEnded:
    return PredecessorsEnded(at=NOW)


def a_predecessor_failed() -> PredecessorsEnded:
    return PredecessorsEnded(at=NOW, failed="not run: fold-16 failed", blame=Blame.HOST)


def a_room(slots: int = 2, *, memory: int = 0, gpus: int = 0, queue: int = 0) -> Room:
    return Room(Capacity(slots=slots, memory_bytes=memory, gpus=gpus, queue=queue))
