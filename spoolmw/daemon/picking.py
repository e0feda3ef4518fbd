"""Finds the tasks that a request means, and answers for each."""

from __future__ import annotations

from collections.abc import Mapping

from spoolmw.daemon.control import Peer
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import SpoolmwError, UnknownTask
from spoolmw.format.ids import is_task_id
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task

Args = Mapping[str, object]
MAX_IDS = 100_000


def find(reactor: Reactor, task_id: TaskId) -> Task | None:
    """The task with this id, open or ended."""
    return reactor.table.get(task_id) or reactor.journal.get(task_id)


def the_task(reactor: Reactor, task_id: object) -> Task:
    """The task that is meant. Raises UnknownTask."""
    if not isinstance(task_id, str) or not is_task_id(task_id):
        raise UnknownTask(f"Not the id of a task: {task_id!r}")
    found = find(reactor, TaskId(task_id))
    if found is None:
        raise UnknownTask(f"No task has the id {task_id}.")
    return found


def the_tasks(reactor: Reactor, args: Args) -> list[Task]:
    """The tasks that `ids` names, each once. Raises SpoolmwError."""
    ids = args.get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        raise SpoolmwError("The request needs `ids`, a list of task ids.")
    found = [the_task(reactor, one) for one in ids]
    return list({task.id: task for task in found}.values())


def answer(task: Task, *, ok: bool, text: str) -> dict[str, object]:
    """What became of the wish for one task."""
    return {"id": task.id, "ok": ok, "state": task.state.value, "text": text}


def who(peer: Peer) -> str:
    """Who asks, for the record."""
    return f"user {peer.uid}"
