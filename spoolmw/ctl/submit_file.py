"""Turns a script, a `*.toml` or a `*.task` into a task file with an id, and drops it.

The id is made here, so that it can be printed; a file that is dropped with `cp` gets its id
from the daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spoolmw.client.dropper import Dropper
from spoolmw.errors import BadTaskFile
from spoolmw.format.ids import new_task_id
from spoolmw.format.names import box_problem, escape, sanitise
from spoolmw.format.taskfile import HEADER_BYTES, TaskFile, read_header, write
from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import Layout

#: `NAME-ID.task`, `.result` and a second id stay below a file name's 255 bytes.
_NAME_BYTES = 80


def submit_file(
    layout: Layout, path: Path, *, box: str, task_id: TaskId | None = None
) -> dict[str, str]:
    """Drop the task that the file asks for, under `task_id` if given; its id, name, box, result."""
    if box and (problem := box_problem(box)):
        raise BadTaskFile(f"{escape(box)} cannot be a box.", why=problem, fix="Name another.")
    data = _bytes_of(path)
    parsed = read_header(data[:HEADER_BYTES], size=len(data), dropped=path.name)
    task_id = task_id or parsed.id or new_task_id()
    name = parsed.spec.name
    dropped = f"{sanitise(name.removesuffix('.task'), _NAME_BYTES)}-{task_id}.task"
    dropper = Dropper(layout, box)
    if inputs := dict(_inputs(path, parsed)):
        dropper.put_inputs(dropped, inputs, durable=False)
    dropper.drop(dropped, _task_file(parsed, task_id, data))
    result = layout.results / box / f"{dropped.removesuffix('.task')}.result"
    return {"id": task_id, "name": name, "box": box, "result": str(result)}


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadTaskFile(
            f"{escape(str(path))} cannot be read.",
            why=error.strerror or str(error),
            fix="Name a script, a *.toml or a *.task; a command goes behind `--`.",
        ) from error


def _task_file(parsed: TaskFile, task_id: str, data: bytes) -> bytes:
    """The file in the `.task` form, with the id in it."""
    if parsed.form == "task" and parsed.id == task_id:
        return data
    header = {k: v for k, v in parsed.header.items() if k != "body"}
    header |= {"id": task_id, "name": parsed.spec.name}
    body = data if parsed.form == "script" else data[parsed.body_offset :]
    if parsed.form == "toml":
        body = b""
    return write(header, body, codec=parsed.body.codec or "pickle")


def _inputs(path: Path, parsed: TaskFile) -> Iterator[tuple[str, Path]]:
    """What the task reads: all of `NAME.in/`, and files beside it that its header names."""
    folder = path.with_name(f"{path.name}.in")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file
    for wanted in _named(parsed.header):
        if wanted.startswith("/") or (folder / wanted).exists():
            continue  # the daemon's configuration decides on the first; the second is taken
        beside = path.with_name(wanted) if "/" not in wanted else path.parent / wanted
        if not beside.is_file():
            raise BadTaskFile(
                f"The input {escape(wanted)} of {escape(path.name)} is not there.",
                why=f"Neither {folder.name}/ nor the file's own folder has it.",
                fix=f"Put it beside {escape(path.name)}.",
            )
        yield wanted, beside


def _named(header: dict[str, Any]) -> list[str]:
    inputs = header.get("files", {}).get("inputs", [])
    return [name for name in inputs if isinstance(name, str)]
