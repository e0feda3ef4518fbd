"""Finds the tasks that a request means, and answers for each."""

from __future__ import annotations

from collections.abc import Mapping

from spoolmw.daemon.control import Peer
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import SpoolmwError, UnknownTask
from spoolmw.format.ids import is_task_id
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task, TaskState

Args = Mapping[str, object]
MAX_IDS = 100_000


def find(reactor: Reactor, task_id: TaskId) -> Task | None:
    """The task with this id, open or ended."""
    return reactor.table.get(task_id) or reactor.journal.get(task_id)


def the_task(reactor: Reactor, task_id: object, *, make: bool = False) -> Task:
    """The task that is meant; with `make` an element whose turn has not come becomes one.

    Raises UnknownTask.
    """
    if not isinstance(task_id, str) or not is_task_id(task_id):
        raise UnknownTask(f"Not the id of a task: {task_id!r}")
    found = find(reactor, TaskId(task_id))
    if found is None and make:
        found = reactor.arrays.make_early(TaskId(task_id))
        if found is not None:
            reactor.enter(found)
    if found is None:
        raise _unknown(reactor, TaskId(task_id))
    return found


def the_tasks(reactor: Reactor, args: Args, *, make: bool = False) -> list[Task]:
    """The tasks that `ids` names, each once. Raises SpoolmwError."""
    ids = args.get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        raise SpoolmwError("The request needs `ids`, a list of task ids.")
    found = [the_task(reactor, one, make=make) for one in ids]
    return list({task.id: task for task in found}.values())


def why_unmade(reactor: Reactor, task_id: object) -> dict[str, object] | None:
    """Why an element is no task yet; None for what is none of an open array."""
    if not isinstance(task_id, str) or find(reactor, TaskId(task_id)) is not None:
        return None
    named = reactor.arrays.named(TaskId(task_id))
    if named is None:
        return None
    array, position = named
    made = array.tally.made if array.tally else 0
    reason = (
        f"its array {array.spec.name} has made {made} elements of it tasks, in order;"
        f" this is number {position + 1}"
    )
    if array.state is not TaskState.EXPANDING:
        reason = f"its array {array.spec.name} is {array.state.value}"
    return {"id": task_id, "state": "unmade", "reason": reason}


def _unknown(reactor: Reactor, task_id: TaskId) -> UnknownTask:
    named = reactor.arrays.named(task_id)
    if named is None:
        return UnknownTask(f"No task has the id {task_id}.")
    array, _ = named
    return UnknownTask(
        f"No task has the id {task_id} yet: it is an element of {array.spec.name}.",
        why=f"The array is {array.state.value} and has not come to it.",
        fix=f"Change the whole array, {array.id}, or wait until it has.",
    )


def answer(task: Task, *, ok: bool, text: str) -> dict[str, object]:
    """What became of the wish for one task."""
    return {"id": task.id, "ok": ok, "state": task.state.value, "text": text}


def who(peer: Peer) -> str:
    """Who asks, for the record."""
    return f"user {peer.uid}"
