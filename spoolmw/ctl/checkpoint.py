"""The verb `checkpoint`: list what tasks saved, and move a run to another task or spool."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click

from spoolmw.client.control import ControlClient
from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.saved import along_with, put, records
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.submit_file import submit_file
from spoolmw.ctl.targets import writing
from spoolmw.ctl.verb import Verb, shared_options, verb
from spoolmw.ctl.words import clock, short, size
from spoolmw.errors import BadCheckpoint, SpoolmwError
from spoolmw.format.ids import new_task_id
from spoolmw.format.names import sanitise
from spoolmw.model.ids import TaskId
from spoolmw.spooldir import checkpointfile as tars
from spoolmw.spooldir import checkpoints
from spoolmw.spooldir.checkpoints import Order

COLUMNS = (
    Column("TASK"),
    Column("NAME"),
    Column("STATE", states=True),
    Column("CHECKPOINT", right=True),
    Column("SAVED"),
    Column("SIZE", right=True),
    Column("SAYS"),
)
#: States in which a task takes a checkpoint from elsewhere.
TAKES = ("waiting", "queued", "held", "failed", "cancelled")
SUFFIX = ".checkpoint.tar"


class CheckpointVerb(click.Group, Verb):
    """`checkpoint` by itself lists."""


@click.group(
    "checkpoint",
    cls=CheckpointVerb,
    invoke_without_command=True,
    examples="""
    spoolmw-ctl checkpoint ls
    spoolmw-ctl checkpoint export --with-task fold-17 -o fold-17.tar
    spoolmw-ctl --spool /other/spool checkpoint import fold-17.tar
    """,
)
@shared_options
@click.pass_context
def checkpoint_verb(ctx: click.Context) -> None:
    """List, export and import what tasks saved.

    So a run can move to another task or spool. Only the daemon's user and root can: checkpoints
    are not for others.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Session), (), verify=False)


@verb(
    "ls",
    examples="""
    spoolmw-ctl checkpoint ls
    spoolmw-ctl checkpoint ls --verify fold-17
    spoolmw-ctl checkpoint ls --json | jq 'select(.damage != "")'
    """,
)
@click.argument("tasks", nargs=-1, type=TASK)
@click.option("--verify", is_flag=True, help="Read every byte and check it.")
def checkpoint_ls(session: Session, *, tasks: tuple[str, ...], verify: bool) -> int:
    """List the checkpoints of tasks, or all there are; 1 when one is damaged.

    Works while the daemon is down.
    """
    return _list(session, tasks, verify=verify)


def _list(session: Session, tasks: Sequence[str], *, verify: bool) -> int:
    _check_open(session)
    ids = pick(session, tasks) if tasks else list(checkpoints.tasks(session.layout))
    found = [row for task_id in ids for row in records(session, TaskId(task_id), verify=verify)]
    if session.screen.json:
        for row in found:
            session.screen.record(row)
    elif not found:
        session.screen.say("There are no checkpoints.")
    else:
        session.screen.table(COLUMNS, [_row(row) for row in found])
    return 1 if any(row["damage"] for row in found) else 0


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        short(row["id"]),
        row["name"],
        row["state"],
        row["checkpoint"],
        clock(row["saved_at"]),
        size(row["bytes"]),
        row["damage"] and f"damaged: {row['damage']}",
    )


@verb(
    "export",
    examples="""
    spoolmw-ctl checkpoint export fold-17
    spoolmw-ctl checkpoint export --with-task fold-17 -o run.tar
    spoolmw-ctl checkpoint export fold-17 -o - | ssh lab2 spoolmw-ctl checkpoint import - fold-17
    """,
)
@click.argument("task", type=TASK)
@click.option(
    "--output", "-o", help="The tar to write; - is stdout. Default: NAME.checkpoint.tar"
)
@click.option("--with-task", is_flag=True, help="Also the task and its input files.")
def checkpoint_export(
    session: Session, *, task: str, output: str | None, with_task: bool
) -> None:
    """Write a task's newest whole checkpoint as a tar; the task may run meanwhile.

    With its task it is all that another spool needs: `checkpoint import` submits it there.
    """
    _check_open(session)
    [task_id] = pick(session, [task], newest=True)
    with session.reports() as reports:
        known = reports.task(task_id)
    owner = tars.owner_of(session.layout, TaskId(task_id))
    found, notes = tars.newest_whole(owner, known["since"] if known else 0)
    for note in notes:
        session.screen.say(note, style="yellow")
    if found is None:
        raise SpoolmwError(
            f"Task {short(task_id)} has no whole checkpoint.",
            fix="see spoolmw-ctl checkpoint ls --verify",
        )
    along = along_with(session.layout, known) if with_task and known else ()
    name = sanitise(known["name"] if known else task_id)
    target = output or f"{name}{SUFFIX}"
    if target == "-":
        tars.write(sys.stdout.buffer, found, along)
        return
    with writing(Path(target)), _published(Path(target)) as file:
        tars.write(file, found, along)
    told = {"id": task_id, "checkpoint": found.name, "bytes": found.size_bytes, "file": target}
    if session.screen.json:
        session.screen.record(told)
    else:
        session.screen.line(f"{target}: checkpoint {found.name}, {size(found.size_bytes)}")


@contextlib.contextmanager
def _published(target: Path) -> Iterator[IO[bytes]]:
    """A file that stands whole under its name at the end, or not at all."""
    half = target.with_name(f".{target.name}.part")
    try:
        with half.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


@verb(
    "import",
    examples="""
    spoolmw-ctl hold fold-17
    spoolmw-ctl checkpoint import fold-17.checkpoint.tar fold-17
    spoolmw-ctl checkpoint import run.tar
    """,
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("task", type=TASK, required=False)
@click.option("--box", "-b", default="", help="The box to submit into, without a TASK.")
def checkpoint_import(session: Session, *, file: str, task: str | None, box: str) -> None:
    """Give a task the checkpoint in a tar; without TASK, submit the task that is in it.

    A TASK must not be at work: hold it first. Then, or at its next retry, it goes on from
    there. Each file is held against its digest before anything is taken.
    """
    _check_open(session)
    with session.control() as control:
        control.request("ping")  # a change: it needs the daemon
        with click.open_file(file, "rb") as source:
            told = (
                _submit(session, source, box)
                if task is None
                else _give(session, control, source, task)
            )
    if session.screen.json:
        session.screen.record(told)
    elif task is None:
        session.screen.line(told["id"])
    else:
        session.screen.line(f"{short(told['id'])}  {told['text']}")


def _give(
    session: Session, control: ControlClient, source: IO[bytes], word: str
) -> dict[str, Any]:
    [task_id] = pick(session, [word])
    record: Mapping[str, Any] = control.request("show", {"id": task_id})
    if record["state"] not in TAKES:
        raise SpoolmwError(
            f"Task {short(task_id)} is {record['state']}.",
            why="A checkpoint is given to a task that is not at work.",
            fix=f"spoolmw-ctl hold {short(task_id)}, import, then release it.",
        )
    run = record["spec"]["run"]
    kind = "command" if run["command"] or run["script"] else "call"
    there = [
        each.order.sequence
        for each in checkpoints.of_replica(session.layout, TaskId(task_id))
        if each.order.attempt == record["attempt"]
    ]
    order = Order(record["attempt"], max(there, default=0) + 1)
    found = put(session.layout, source, TaskId(task_id), order, kind=kind)
    asked = {"id": task_id, "attempt": order.attempt, "sequence": order.sequence}
    try:
        answer: dict[str, Any] = control.request("brought", asked)
        if not answer["ok"]:
            raise SpoolmwError(f"Task {short(task_id)} did not take it: {answer['text']}.")
    except SpoolmwError:
        checkpoints.remove_one(session.layout, TaskId(task_id), order)
        raise
    return {**answer, "checkpoint": str(order), "bytes": found.size_bytes}


def _submit(session: Session, source: IO[bytes], box: str) -> dict[str, Any]:
    """The checkpoint is there before its task is: so no attempt can begin without it."""
    task_id = new_task_id()
    try:
        with tempfile.TemporaryDirectory(prefix="spoolmw-") as folder:
            found = put(session.layout, source, task_id, Order(0, 1), tasks=Path(folder))
            path = _task_in(Path(folder))
            submitted = submit_file(session.layout, path, box=box, task_id=task_id)
    except BaseException:
        checkpoints.remove(session.layout, task_id)
        raise
    return {**submitted, "checkpoint": "0-1", "bytes": found.size_bytes}


def _task_in(folder: Path) -> Path:
    for path in folder.glob("*.task"):
        return path
    raise BadCheckpoint(
        "There is no task in this file to submit.",
        why="it was written without --with-task",
        fix="name the task that is to go on from it: spoolmw-ctl checkpoint import FILE TASK",
    )


def _check_open(session: Session) -> None:
    """Say it well when this user may not look into the daemon's folders."""
    folder = session.layout.checkpoints
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SpoolmwError(
            f"{folder} is not open to this user.",
            why="checkpoints hold what tasks computed; they are the daemon's own",
            fix="run it as the daemon's user (sudo -u) or as root",
        )


for _command in (checkpoint_ls, checkpoint_export, checkpoint_import):
    checkpoint_verb.add_command(_command)
