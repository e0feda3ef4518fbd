"""Turns a task into a row of the journal and back."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from spoolmw.errors import JournalCorrupt
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Element, Tally, Task, TaskState
from spoolmw.store.specs import after_text, changed_fields, spec_of, spec_text, with_after
from spoolmw.store.sql import QUERIES
from spoolmw.store.texts import (
    ending_of,
    ending_text,
    history_of,
    history_text,
    lease_of,
    lease_text,
    saved_of,
    saved_text,
)
from spoolmw.store.votes import ballot_of

Row = tuple[Any, ...]
BALLOT = 31  #: the column of `tasks` that says whether a task has rows in `replicas`

_NO_TALLY = Tally(total=0)
#: The states by their number in the journal, as the table `states` has them.
STATES = (
    TaskState.WAITING,
    TaskState.QUEUED,
    TaskState.HELD,
    TaskState.RUNNING,
    TaskState.DELIVERING,
    TaskState.DONE,
    TaskState.FAILED,
    TaskState.CANCELLED,
    TaskState.VALIDATING,  # the last two: their numbers are -2 and -1, with the open ones below 5
    TaskState.EXPANDING,
)
#: Their numbers by name: a look-up by an enum's member would hash in Python.
NUMBERS = {state.value: number for number, state in enumerate(STATES)}
NUMBERS |= {TaskState.EXPANDING.value: -1, TaskState.VALIDATING.value: -2}


def insert_row(task: Task, now: float) -> Row:
    """The parameters of `insert_task`."""
    spec = task.spec
    return (
        task.seq, task.id, task.box, task.dropped, task.result_name, spec.name, spec.key,
        spec_text(spec), task.body_sha256, task.submitted_at, now, task.priority,
        NUMBERS[task.state._value_], task.attempt, task.failures, task.losses, task.not_before,
        task.memory_bytes, lease_text(task.lease), ending_text(task.ending),
        history_text(task.history), task.twin_of, int(task.waits),
        after_text(task) if spec.after else None, *_array_columns(task),
    )  # fmt: skip


def _array_columns(task: Task) -> tuple[str | None, int | None, str | None, str | None]:
    element = task.element
    if element is None:
        return None, None, None, tally_text(task.tally)
    text = f"[{element.index}]"
    if element.line is not None:
        text = f"[{element.index},{quoted(element.line)}]"
    return element.array, element.position, text, None


def update_row(task: Task, now: float) -> Row:
    """The parameters of `update_task`."""
    return (
        task.result_name, now, task.priority, NUMBERS[task.state._value_], task.attempt, task.failures,
        task.losses, task.not_before, task.memory_bytes, lease_text(task.lease),
        ending_text(task.ending), history_text(task.history), task.twin_of, int(task.waits),
        after_text(task) if task.spec.after else None,
        None if task.tally is None else tally_text(task.tally), task.seq,
    )  # fmt: skip


def course_row(task: Task, now: float) -> Row:
    """The parameters of `update_course`."""
    return (
        now, NUMBERS[task.state._value_], task.losses, lease_text(task.lease),
        ending_text(task.ending), history_text(task.history), task.seq,
    )  # fmt: skip


def only_state_changed(before: Task, after: Task) -> bool:
    """`update_state` says it all: this step is the delivery, or one like it.

    A vote has statements of its own.
    """
    return (
        before.ending is after.ending
        and before.history is after.history
        and before.lease is after.lease
        and before.losses == after.losses
        and only_course_changed(before, after)
    )


def only_course_changed(before: Task, after: Task) -> bool:
    """`update_course` says it all: this step is the report, or one like it."""
    return (
        before.result_name == after.result_name
        and before.not_before == after.not_before
        and before.priority == after.priority
        and before.attempt == after.attempt
        and before.failures == after.failures
        and before.memory_bytes == after.memory_bytes
        and before.twin_of == after.twin_of
        and before.waits is after.waits
        and before.predecessors is after.predecessors
        and before.tally is after.tally
    )


def task_of(row: Sequence[Any], replicas: Iterable[Sequence[Any]] = ()) -> Task:
    """The task of a row of `SELECT * FROM tasks`, and of those of its replicas in their order."""
    (
        seq, task_id, box, dropped, result_name, name, key, spec, body_sha256, submitted_at,
        _, priority, state, attempt, failures, losses, not_before, memory_bytes,
        lease, ending, history, twin_of, _, saved, since, waits, after,
        array, position, element, tally, ballot,
    ) = row  # fmt: skip
    known = spec_of(spec, dropped if name == dropped else sys.intern(name), key)
    predecessors: tuple[TaskId, ...] = ()
    if after:
        known, predecessors = with_after(known, after)
    return Task(
        seq=seq,
        id=task_id,
        box=sys.intern(box),
        dropped=dropped,
        result_name=name if result_name == name else result_name,
        spec=known,
        body_sha256=body_sha256,
        submitted_at=submitted_at,
        priority=priority,
        state=STATES[state],
        attempt=attempt,
        lease=lease_of(lease) if lease else None,
        failures=failures,
        losses=losses,
        not_before=not_before,
        memory_bytes=memory_bytes,
        ending=ending_of(ending) if ending else None,
        history=history_of(history) if history else (),
        twin_of=twin_of,
        saved=saved_of(saved) if saved else None,
        since=since,
        waits=bool(waits),
        predecessors=predecessors,
        element=Element(array, position, *json.loads(element)) if array else None,
        tally=_tally_of(tally) if tally else None,
        ballot=ballot_of(ballot, task_id, known, replicas) if ballot else None,
    )


def saving_changed(before: Task | None, after: Task) -> bool:
    """`update_saved` is needed; of most tasks it never is."""
    if before is None:
        return after.saved is not None or after.since > 0
    return before.saved is not after.saved or before.since != after.since


def saved_row(task: Task) -> Row:
    """The parameters of `update_saved`: a checkpoint's record as a JSON list."""
    return saved_text(task.saved), task.since, task.seq


def tally_text(tally: Tally | None) -> str | None:
    """How far an array is, as a JSON object without what is zero."""
    if tally is None:
        return None
    return json.dumps(changed_fields(tally, _NO_TALLY) | {"total": tally.total})


def _tally_of(text: str) -> Tally:
    return Tally(**json.loads(text))


def elements_between(array: TaskId) -> dict[str, str]:
    """Bounds of the ids that an array's elements have: those that were made in its millisecond."""
    return {"low": array[:12], "high": f"{array[:12]}g"}


def tasks_of(conn: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> list[Task]:
    """The tasks of many rows, with their replicas; JournalCorrupt when one cannot be understood."""
    tasks: list[Task] = []
    for row in rows:
        try:
            if row[BALLOT] is None:
                tasks.append(task_of(row))
            else:
                tasks.append(task_of(row, conn.execute(QUERIES["replicas_of"], (row[0],))))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise JournalCorrupt(
                f"task {row[0]} ({row[1]}) in the journal cannot be understood",
                why=f"{type(error).__name__}: {error}",
                fix="stop the daemon and run: spoolmwd --rebuild",
            ) from error
    return tasks
