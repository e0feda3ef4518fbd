"""The verb `ls`: tasks, newest first."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from spoolmw.ctl.ballots import in_words
from spoolmw.ctl.drops import refused
from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATES, ago, clock, count, duration, elements, short
from spoolmw.errors import BadSpool
from spoolmw.format.ids import is_task_id
from spoolmw.spooldir.where import ASK_AS

COLUMNS = (
    Column("ID"),
    Column("NAME"),
    Column("BOX"),
    Column("STATE", states=True),
    Column("SUBMITTED"),
    Column("TOOK", right=True),
    Column("TRIES", right=True),
    Column("SAYS"),
)
#: Predecessors that a line names.
NAMED = 3
#: Tasks that `ls` shows when nobody says how many.
LIMIT = 50


def row(task: Mapping[str, Any]) -> tuple[str, ...]:
    """A task as a row of the table."""
    return (
        short(task["id"]),
        task["name"],
        task["box"],
        task["state"],
        clock(task["submitted_at"]),
        duration(took(task)),
        str(task["attempt"] or ""),
        says(task),
    )


def took(task: Mapping[str, Any]) -> float | None:
    """How long the last attempt ran, in seconds; None before it ended."""
    started, ended = task.get("started_at"), task.get("ended_at")
    return float(ended) - float(started) if started and ended else None


def says(task: Mapping[str, Any]) -> str:
    """What there is to say about a task besides its state, one line."""
    if task.get("elements") and task["state"] in ("expanding", "held"):
        return elements(task["elements"])
    if "votes" in task and task["state"] in ("queued", "running", "validating"):
        return in_words(task["votes"])
    if task["state"] == "running" and task.get("started_at"):
        return f"on {task.get('agent') or '?'}, started {ago(task['started_at'])}"
    if task["state"] == "waiting":
        return awaited(task)
    return str(task.get("message") or "").split("\n", 1)[0]


def awaited(task: Mapping[str, Any]) -> str:
    """What a waiting task waits for, in its own words."""
    words = task["spec"]["after"] if task["waits"] else [task["twin_of"]]
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return f"after {', '.join(map(_short, words[:NAMED]))}{more}"


def _short(word: str) -> str:
    return short(word) if is_task_id(word) else word


@verb(
    "ls",
    examples="""
    spoolmw-ctl ls
    spoolmw-ctl ls --state failed --box fold
    spoolmw-ctl ls --state queued -q | spoolmw-ctl cancel -
    spoolmw-ctl ls --array sweep --state failed
    spoolmw-ctl ls --all --json | jq .name
    spoolmw-ctl ls --rejected
    """,
)
@click.option(
    "--state", "-s", type=click.Choice([*STATES, "open"]), help="Only tasks in this state."
)
@click.option("--box", "-b", help="Only tasks of this box.")
@click.option("--name", "-n", help="Only tasks of this name.")
@click.option("--limit", "-l", type=click.IntRange(1), help=f"So many; for people {LIMIT}.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--elements", "with_elements", is_flag=True, help="Also the elements of arrays.")
@click.option("--array", "-a", type=TASK, help="Only the elements of this array.")
@click.option("--rejected", is_flag=True, help="Show refused files instead of tasks.")
def ls_verb(session: Session, *, rejected: bool, **wanted: Any) -> None:
    """List tasks, newest first. An array is one line.

    Elements of an array are listed once they are tasks. Works while the daemon is down.
    """
    if rejected:
        _list_refused(session, limit=wanted["limit"], box=wanted["box"])
    else:
        _list_tasks(session, **wanted)


def _list_tasks(
    session: Session,
    *,
    limit: int | None,
    everything: bool,
    quiet: bool,
    array: str | None,
    with_elements: bool,
    **wanted: str | None,
) -> None:
    # In a pipe a limit that nobody asked for would lie to the program behind it.
    unasked = None if everything or quiet or session.screen.json else LIMIT
    most = limit or unasked
    array_id = _array(session, array, wanted) if array is not None else ""
    with session.reports() as reports:
        limit = most and most + 1
        if array_id:
            found = reports.elements(array_id, state=wanted["state"], newest=True, limit=limit)
        else:
            found = reports.tasks(
                newest=True,
                limit=limit,
                elements=with_elements,
                state=wanted["state"],
                box=wanted["box"],
                name=wanted["name"],
            )
        tasks = itertools.islice(found, most)
        if session.screen.json or quiet:
            for task in tasks:
                _tell(session, task, quiet=quiet)
            return
        rows = [row(task) for task in tasks]
        more = next(found, None) is not None
    if not rows:
        session.screen.say("No tasks.")
        return
    session.screen.table(COLUMNS, rows)
    if more:
        session.screen.say(f"The newest {count(len(rows), 'task')}; there are more: --all")


def _array(session: Session, word: str, wanted: Mapping[str, str | None]) -> str:
    if wanted["box"] or wanted["name"]:
        raise click.UsageError("--array names the tasks already; leave --box and --name out")
    [task_id] = pick(session, [word], newest=True)
    return task_id


def _tell(session: Session, task: Mapping[str, Any], *, quiet: bool) -> None:
    if session.screen.json:
        session.screen.record({"id": task["id"]} if quiet else task)
    else:
        sys.stdout.write(f"{task['id']}\n")


def _list_refused(session: Session, *, limit: int | None, box: str | None) -> None:
    _check_seen(session.layout.rejected)
    files = sorted(refused(session.layout), key=lambda file: (file.box, file.name))
    wanted = [file.with_reason() for file in files if box is None or file.box == box]
    if session.screen.json:
        for file in wanted:
            session.screen.record({"box": file.box, "name": file.name, "reason": file.reason})
        return
    for file in itertools.islice(wanted, limit):
        session.screen.line(f"{file.box}/{file.name}" if file.box else file.name, style="bold")
        for line in file.reason.strip().splitlines():
            session.screen.line(f"  {line}")
    if not wanted:
        session.screen.say("No refused files.")


def _check_seen(folder: Path) -> None:
    """Raise BadSpool for a folder whose files would not be seen: they are not none."""
    try:
        os.scandir(folder).close()
    except PermissionError as error:
        raise BadSpool(
            f"{folder} cannot be read.",
            why=error.strerror or "",
            fix=ASK_AS,
        ) from error
