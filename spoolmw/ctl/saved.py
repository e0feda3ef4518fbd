"""What tasks saved, as verbs tell of it: from the folders, which are the truth, and the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from spoolmw.ctl.session import Session
from spoolmw.errors import BadTaskFile
from spoolmw.format.taskfile import MAGIC, portable, read_header
from spoolmw.model.attempt import Saved
from spoolmw.model.ids import TaskId
from spoolmw.spooldir import checkpointfile as tars
from spoolmw.spooldir import checkpoints
from spoolmw.spooldir.checkpointfile import TaskFile
from spoolmw.spooldir.checkpoints import Found, Order
from spoolmw.spooldir.layout import Layout, active_name


def records(session: Session, task_id: TaskId, *, verify: bool) -> Iterator[dict[str, Any]]:
    """A task's checkpoints as `checkpoint ls --json` prints them, the oldest first."""
    with session.reports() as reports:
        task = reports.task(task_id) or {}
    for found in checkpoints.of_task(session.layout, task_id):
        yield {
            "id": task_id,
            "name": task.get("name", ""),
            "state": task.get("state", "unknown"),
            **_record(session.layout, found, verify=verify),
        }


def _record(layout: Layout, found: Found, *, verify: bool) -> dict[str, Any]:
    told = tars.told_by(found.path)
    whole = told if not isinstance(told, str) else {}
    damage = told if isinstance(told, str) else ""
    if verify and not damage:
        owner = tars.owner_of(layout, found.task, found.replica)
        damage = tars.problem_with(found.path, owner)
    files = whole.get("files", ())
    return {
        "replica": found.replica,
        "attempt": found.order.attempt,
        "sequence": found.order.sequence,
        "checkpoint": str(found.order),
        "kind": whole.get("kind", ""),
        "saved_at": whole.get("saved_at"),
        "bytes": sum(each["bytes"] for each in files),
        "files": [each["name"] for each in files],
        "path": str(found.path),
        "damage": damage,
    }


def newest(session: Session, task: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest checkpoint that counts; as the journal has it where the folder is closed to us."""
    layout = session.layout
    if os.access(layout.checkpoints, os.R_OK | os.X_OK, effective_ids=True):
        found = checkpoints.of_replica(layout, TaskId(task["id"]))
        counting = [each for each in found if each.order.attempt >= task["since"]]
        return _record(layout, counting[-1], verify=False) if counting else None
    saved = task.get("saved")
    if not saved:
        return None
    name = f"{saved['attempt']}-{saved['sequence']}"
    return {**saved, "bytes": saved["size_bytes"], "checkpoint": name, "damage": ""}


def along_with(layout: Layout, task: Mapping[str, Any]) -> list[TaskFile]:
    """The task's own file and its inputs, as they can be dropped once more. Raises BadTaskFile."""
    path = layout.active / active_name(TaskId(task["id"]), task["box"], task["dropped"])
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadTaskFile(
            f"The file of task {task['id']} is gone.",
            why="that of a task that is done is removed",
            fix="export it without --with-task",
        ) from error
    accepted = data.startswith(MAGIC)
    parsed = read_header(data, size=len(data), dropped=task["dropped"], accepted=accepted)
    name = f"{task['id']}.task"
    files = [TaskFile(name, portable(parsed, data[parsed.body_offset :], TaskId(task["id"])))]
    for each in parsed.spec.files.inputs:
        inside = f"{name}.in/{each.name}"
        files.append(TaskFile(inside, layout.inputs / each.digest, each.executable))
    return files


def put(
    layout: Layout,
    source: IO[bytes],
    task_id: TaskId,
    order: Order,
    *,
    kind: str = "",
    tasks: Path | None = None,
) -> Saved:
    """Make the checkpoint in a tar one of this task's, and the daemon's own. Raises BadCheckpoint."""
    owner = tars.owner_of(layout, task_id)
    found = tars.take(source, owner, order, kind=kind, tasks=tasks)
    _give_to_daemon(layout, layout.checkpoints / task_id)
    return found


def _give_to_daemon(layout: Layout, folder: Path) -> None:
    """What root wrote belongs to whom the spool belongs: only then can the daemon remove it."""
    whose = layout.checkpoints.stat()
    if os.geteuid() != 0 or whose.st_uid == 0:
        return
    for each, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(f"{each}/{name}", whose.st_uid, whose.st_gid, follow_symlinks=False)
