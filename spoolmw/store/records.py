"""A task as `show --json` and the helper see it: a record with stable keys."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from spoolmw.format.arrays import (
    element_id,
    element_name,
    element_spec,
    index_at,
    ranges_text,
)
from spoolmw.format.votes import votes_record
from spoolmw.model.attempt import Ran
from spoolmw.model.replica import Ballot, Replica
from spoolmw.model.task import FINAL, Element, Task


def task_record(task: Task, *, updated_at: float) -> dict[str, Any]:
    """A task as `show --json` prints it. Times are wall clock, in seconds since 1970."""
    one = _ran(task)
    last = one.history[-1] if one.history else None
    lease, ending = one.lease, task.ending
    here = lease or last
    return {
        "id": task.id,
        "name": task.spec.name,
        "key": task.spec.key,
        "box": task.box,
        "state": task.state.value,
        "priority": task.priority,
        "seq": task.seq,
        "dropped": task.dropped,
        "result": _result(task),
        "submitted_at": task.submitted_at,
        "updated_at": updated_at,
        "started_at": (lease.started_at or lease.assigned_at) if lease else _started(last),
        "ended_at": None if lease else _ended(task, last, updated_at),
        "agent": here.agent if here else "",
        "host": here.host if here else "",
        "slot": here.slot if here else "",
        "attempt": one.attempt,
        "failures": one.failures,
        "losses": one.losses,
        "message": ending.message if ending else last.message if last else "",
        "cause": ending.cause.value if ending else last.cause.value if last else "",
        "blame": ending.blame.value if ending else last.blame.value if last else "",
        "exit_code": last.exit_code if last else None,
        "digest": ending.digest if ending else "",
        "twin_of": task.twin_of,
        "saved": asdict(one.saved) if one.saved else None,
        "since": one.since,
        "waits": task.waits,
        "predecessors": list(task.predecessors),
        "attempts": [attempt_record(ran) for ran in task.history],
        "spec": spec_record(task),
        **array_keys(task),
        **({} if task.ballot is None else vote_keys(task.ballot)),
    }


def _ran(task: Task) -> Task | Replica:
    """What attempts are told of: of a task with redundancy the replica that stands for it best."""
    if task.ballot is None or not task.ballot.replicas:
        return task
    if task.ballot.canonical is not None:
        return task.ballot.replicas[task.ballot.canonical]
    return max(task.ballot.replicas, key=lambda each: (each.lease is not None, each.attempt))


def vote_keys(ballot: Ballot) -> dict[str, Any]:
    """What only tasks with redundancy have; `attempts` are those of all replicas then."""
    return {
        "attempts": [
            {"replica": each.number, **attempt_record(ran)}
            for each in ballot.replicas
            for ran in each.history
        ],
        "votes": votes_record(ballot),
    }


def array_keys(task: Task) -> dict[str, Any]:
    """What only arrays have (`elements`: how many stand where), and what only elements."""
    if (element := task.element) is not None:
        line = {} if element.line is None else {"line": element.line}
        return {"array": element.array, "index": element.index, **line}
    if (tally := task.tally) is not None:
        counts = ("total", "unmade", "open", "done", "failed", "cancelled", "skipped")
        return {"elements": {name: getattr(tally, name) for name in counts}}
    return {}


def _result(task: Task) -> str:
    folder = f"results/{task.box}" if task.box else "results"
    return f"{folder}/{task.result_name}.result"


def _started(last: Ran | None) -> float | None:
    return (last.started_at or None) if last else None


def _ended(task: Task, last: Ran | None, updated_at: float) -> float | None:
    if last is not None and last.ended_at:
        return last.ended_at
    return updated_at if task.state in FINAL else None


def attempt_record(ran: Ran) -> dict[str, Any]:
    """One ended attempt."""
    record = asdict(ran)
    del record["token"]
    for field in ("outcome", "cause", "blame"):
        record[field] = record[field].value
    return record


def spec_record(task: Task) -> dict[str, Any]:
    """What was asked for, all sections, with the defaults filled in."""
    record = asdict(task.spec)
    record["run"]["env"] = dict(task.spec.run.env)
    if task.spec.array is None:
        del record["array"]
    elif task.spec.array.file is None:
        record["array"] = ranges_text(task.spec.array.ranges)
    else:
        del record["array"]
        record["array_file"] = asdict(task.spec.array.file)
    record["resources"]["memory_bytes"] = task.memory_bytes or task.spec.resources.memory_bytes
    return record


def unmade_record(array: Task, position: int, *, updated_at: float) -> dict[str, Any]:
    """An element that is no task yet, told as one: "unmade", or that it never will be one."""
    assert array.spec.array is not None
    assert array.tally is not None
    index = index_at(array.spec.array, position)
    task = replace(
        array,
        id=element_id(array.id, position),
        result_name=element_name(array.result_name, index),
        spec=element_spec(array.spec, index),
        element=Element(array.id, position, index),
        tally=None,
        ending=None,
        twin_of=None,
    )
    record = task_record(task, updated_at=updated_at)
    if array.tally.skipped:
        return {**record, "state": "cancelled", "message": f"its array was {array.tally.note}"}
    return {**record, "state": "unmade", "message": "its array has not come to it yet"}
