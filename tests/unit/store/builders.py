"""Tasks and changes for the tests of the store: a builder names only what matters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spoolmw.format.arrays import element_id, element_spec
from spoolmw.model.attempt import Blame, Cause, Lease, Outcome, Ran, Saved
from spoolmw.model.events import Assigned, Delivered, Event, Lost, Reported, Submitted
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.redundancy import Redundancy, Validator
from spoolmw.model.replica import Ballot, Class, Phase, Replica, ReplicaState, Spot, Verdict
from spoolmw.model.spec import (
    Array,
    Checkpoint,
    Files,
    Input,
    Limits,
    Place,
    Resources,
    Retry,
    Run,
    Spec,
)
from spoolmw.model.task import Element, Ending, Tally, Task, TaskState
from spoolmw.store.journal import Changed, Journal

LOCAL = AgentName("local")
WALL = 1_770_000_000.0
BOOT: dict[str, Any] = {"now_boot": 100.0, "boot_id": "first boot"}


def an_id(number: int) -> TaskId:
    return TaskId(f"0193a000{number:04x}{'0' * 20}")


def a_task(number: int = 1, **fields: Any) -> Task:
    """A queued task."""
    given: dict[str, Any] = {
        "seq": number,
        "id": an_id(number),
        "box": "",
        "dropped": f"noop-{number}.task",
        "result_name": f"noop-{number}",
        "spec": Spec(name=f"noop-{number}"),
        "body_sha256": "b" * 64,
        "submitted_at": WALL + number,
    }
    return Task(**(given | fields))


def a_full_spec(**fields: Any) -> Spec:
    """A header in which nothing is default."""
    given: dict[str, Any] = {
        "name": "fold 17 größe",
        "key": "fold/17",
        "priority": -5,
        "run": Run(command=("./fold", "--seed", "1\n"), env=(("A", "1"), ("B", "ü"))),
        "files": Files(
            inputs=(Input("a/b", "c" * 64, 5, executable=True), Input("d", "e" * 64, 0)),
            outputs=("*.csv",),
        ),
        "resources": Resources(cpus=3, memory_bytes=1 << 40, gpus=2),
        "limits": Limits(time_s=0.5, output_bytes=7),
        "retry": Retry(max=9, backoff_s=0.25, memory_factor=1.5, on=("exit:75",)),
        "checkpoint": Checkpoint(
            asked=True, every_s=60.0, exit_code=3, files=("state.*",), keep=True
        ),
        "place": Place(agents=("local", "ssh"), interpreter="/x", python="3.9", platform="p"),
        "redundancy": Redundancy(
            quorum=3,
            target=4,
            limit=9,
            max_errors=5,
            deadline_s=60.5,
            distinct="owner",
            validator=Validator(kind="command", rtol=0.5, atol=1e-3, command=("./cmp", "-v")),
            adaptive=True,
            audit=0.02,
            alike="platform",
        ),
        "array": Array(ranges=((1, 3, 1), (10, 90, 20)), file=Input("lines", "f" * 64, 9)),
    }
    return Spec(**(given | fields))


def an_array(number: int = 1, total: int = 3, **fields: Any) -> Task:
    """An array that was accepted, and no element of which was made."""
    given: dict[str, Any] = {
        "state": TaskState.EXPANDING,
        "result_name": "sweep",
        "spec": Spec(name="sweep", array=Array(ranges=((1, total, 1),))),
        "tally": Tally(total=total),
    }
    return a_task(number, **(given | fields))


def an_element(array: Task, position: int, *, seq: int, **fields: Any) -> Task:
    """One of its elements."""
    given: dict[str, Any] = {
        "id": element_id(array.id, position),
        "dropped": array.dropped,
        "result_name": f"{array.result_name}.{position + 1}",
        "spec": element_spec(array.spec, position + 1),
        "element": Element(array.id, position, position + 1),
    }
    return a_task(seq, **(given | fields))


def a_full_ballot(task: Task) -> Ballot:
    """A vote in which nothing is as at its beginning, as far as that can be."""
    return Ballot(
        task=task.id,
        wish=task.spec.redundancy,
        retry=task.spec.retry,
        replicas=(
            a_running_replica(task, 0),
            a_reported_replica(task, 1),
            Replica(task=task.id, number=2),
        ),
        phase=Phase.JUDGING,
        round=3,
        asked=(0, 1),
        classes=(Class((0, 2), 2, (1,)), Class((1,), 1)),
        alone=True,
        platform="linux-x86_64",
        extra=2,
        attempts=4,
        fresh=True,
        memory_bytes=1 << 33,
        canonical=1,
        judge_after=250.5,
        judge_failures=2,
        message='it said "no"\udc80',
        fault=True,
    )


def a_running_replica(task: Task, number: int = 0, **fields: Any) -> Replica:
    """One that runs, and an earlier attempt of which may yet report."""
    given: dict[str, Any] = {
        "state": ReplicaState.RUNNING,
        "attempt": 2,
        "lease": a_lease(),
        "spot": Spot(machine="m" * 32, owner="é", slot="1", platform="p", host='pc"01'),
        "until": 300.25,
        "overdue": True,
        "failures": 1,
        "losses": 2,
        "not_before": 120.5,
        "history": (a_failure(1, token="a" * 32),),
        "memory_bytes": 1 << 40,
        "saved": Saved(1, 17, WALL + 0.25, 1 << 40),
        "since": 1,
    }
    return Replica(task=task.id, number=number, **(given | fields))


def a_reported_replica(task: Task, number: int = 0, **fields: Any) -> Replica:
    given: dict[str, Any] = {
        "state": ReplicaState.INVALID,
        "attempt": 1,
        "spot": Spot(machine="n" * 32),
        "staged": AttemptId(task.id, number, 1),
        "body_bytes": 17,
        "digest": "d" * 64,
        "files": True,
        "verdict": Verdict.INVALID,
        "message": 'it said "no"\udc80',
        "history": (a_ran(1),),
    }
    return Replica(task=task.id, number=number, **(given | fields))


def a_lease() -> Lease:
    return Lease(agent=LOCAL, token="f" * 32, assigned_at=WALL, host='ho"st', slot="1")


def a_ran(number: int = 1, **fields: Any) -> Ran:
    given: dict[str, Any] = {
        "attempt": number,
        "agent": "local",
        "outcome": Outcome.SUCCESS,
        "cause": Cause.FINISHED,
        "blame": Blame.NONE,
        "host": "node17",
        "slot": "2",
        "started_at": WALL,
        "ended_at": WALL + 2.5,
        "cpu_s": 1.5,
        "memory_bytes": 20_000_000,
    }
    return Ran(**(given | fields))


def a_failure(number: int = 1, **fields: Any) -> Ran:
    given: dict[str, Any] = {
        "outcome": Outcome.ERROR,
        "cause": Cause.EXIT,
        "blame": Blame.TASK,
        "exit_code": 3,
        "message": "exit status 3\nlast \u001b[31mwords\udc80",
    }
    return a_ran(number, **(given | fields))


def an_ending(state: TaskState = TaskState.DONE, **fields: Any) -> Ending:
    given: dict[str, Any] = {
        "state": state,
        "cause": Cause.FINISHED,
        "blame": Blame.NONE,
        "body_bytes": 300,
        "digest": "d" * 64,
    }
    return Ending(**(given | fields))


def running(task: Task) -> Task:
    return replace(task, state=TaskState.RUNNING, attempt=task.attempt + 1, lease=a_lease())


def delivering(task: Task) -> Task:
    return replace(
        task,
        state=TaskState.DELIVERING,
        lease=None,
        ending=an_ending(staged=task.attempt_id),
        history=(*task.history, a_ran(task.attempt)),
    )


def done(task: Task) -> Task:
    return replace(task, state=TaskState.DONE)


def submitted(task: Task) -> Changed:
    return Changed(None, task, (Submitted(at=1.0, task=task),))


def assigned(task: Task) -> Changed:
    event = Assigned(at=2.0, agent=LOCAL, token="f" * 32, wall=WALL)
    return Changed(task, running(task), (event,))


def reported(task: Task) -> Changed:
    event = Reported(
        at=3.0,
        attempt=task.attempt_id,
        token="f" * 32,
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
    )
    return Changed(task, delivering(task), (event,))


def delivered(task: Task) -> Changed:
    return Changed(task, done(task), (Delivered(at=4.0),))


def lost(task: Task) -> Changed:
    event = Lost(
        at=3.0,
        attempt=task.attempt_id,
        cause=Cause.VANISHED,
        blame=Blame.HOST,
        message="killed",
        host="node17",
    )
    after = replace(
        task,
        state=TaskState.QUEUED,
        lease=None,
        losses=task.losses + 1,
        history=(*task.history, a_failure(outcome=Outcome.LOST, cause=Cause.VANISHED)),
    )
    return Changed(task, after, (event,))


def commit(journal: Journal, *changes: Changed, wall: float = WALL) -> None:
    journal.commit(changes, wall=wall, now_boot=100.0, boot_id="first boot")


def run_to_the_end(journal: Journal, task: Task, *, wall: float = WALL) -> Task:
    """Commit a task's whole way, one tick for each step; the final task."""
    commit(journal, submitted(task), wall=wall)
    for step in (assigned, reported, delivered):
        change = step(task)
        commit(journal, change, wall=wall)
        task = change.after
    return task


def happened(*events: Event, task: Task) -> Changed:
    return Changed(task, task, events)
