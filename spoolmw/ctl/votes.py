"""The verbs `votes` (who returned what, and what was made of it) and `adjudicate` (decide it by hand)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from spoolmw.ctl.ballots import in_words, way_out
from spoolmw.ctl.change import tell
from spoolmw.ctl.picks import TASK, pick, unknown
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATE_STYLES, short
from spoolmw.errors import SpoolmwError

VOTES = (
    Column("REPLICA", right=True),
    Column("STATE"),
    Column("CLASS"),
    Column("VERDICT"),
    Column("HOST"),
    Column("AGENT"),
    Column("TRIES", right=True),
    Column("DIGEST"),
    Column("SAYS"),
)
#: Digits of a digest that tell results apart.
_DIGITS = 12
_TASK = click.argument("task", type=TASK)


@verb(
    "votes",
    examples="""
    spoolmw-ctl votes fold-17
    spoolmw-ctl votes --json fold-17 | jq '.votes.replicas[] | {host, class, verdict}'
    """,
)
@click.argument("tasks", nargs=-1, required=True, type=TASK)
def votes_verb(session: Session, tasks: tuple[str, ...]) -> None:
    """Show the vote on tasks with redundancy: who returned what.

    Results of one class equal each other. The digest is of the whole result, output and all:
    results of one class need not have the same. Works while the daemon is down.
    """
    for number, task_id in enumerate(pick(session, tasks, newest=True)):
        task = _voted(session, task_id)
        if session.screen.json:
            session.screen.record({key: task[key] for key in ("id", "name", "state", "votes")})
            continue
        if number:
            session.screen.line()
        _show(session, task)


def _voted(session: Session, task_id: str) -> Mapping[str, Any]:
    with session.reports() as reports:
        task = reports.task(task_id)
    if task is None:
        raise unknown(task_id)
    if "votes" not in task:
        raise SpoolmwError(
            f"There is no vote on {task['name']} ({short(task_id)}).",
            why="It did not ask for redundancy, so one result counts.",
            fix="Ask for it with [redundancy] quorum = 2: see docs/redundancy.md.",
        )
    return dict(task)


def _show(session: Session, task: Mapping[str, Any]) -> None:
    votes, state = task["votes"], task["state"]
    session.screen.line(f"{task['name']}: {state}", style=STATE_STYLES.get(state, "bold"))
    session.screen.facts(
        [
            ("id", task["id"]),
            ("votes", in_words(votes)),
            ("validator", votes["validator"]),
            ("says", votes["message"]),
            ("decide", way_out(task)),
        ]
    )
    session.screen.line()
    session.screen.table(VOTES, [_row(votes, each) for each in votes["replicas"]])


def _row(votes: Mapping[str, Any], replica: Mapping[str, Any]) -> tuple[str, ...]:
    chosen = replica["replica"] == votes["canonical"]
    compared = bool(replica["class"])
    return (
        str(replica["replica"]),
        replica["state"] + (" (overdue)" if replica["overdue"] else ""),
        replica["class"] + ("*" if chosen else ""),
        replica["verdict"] if compared else "",
        replica["host"] or replica["machine"],
        replica["agent"],
        str(replica["attempt"] or ""),
        replica["digest"][:_DIGITS],
        "chosen" if chosen else replica["message"].split("\n", 1)[0],
    )


@verb(
    "adjudicate",
    examples="""
    spoolmw-ctl adjudicate fold-17 --accept 2
    spoolmw-ctl adjudicate fold-17 --more 2
    spoolmw-ctl adjudicate fold-17 --fail
    """,
)
@_TASK
@click.option("--accept", type=click.IntRange(0), metavar="REPLICA", help="Its result counts.")
@click.option("--more", type=click.IntRange(1), metavar="N", help="So many replicas more.")
@click.option("--fail", is_flag=True, help="There will be no result.")
def adjudicate_verb(session: Session, *, task: str, **ways: Any) -> int:
    """Decide by hand a vote that is open, or that was given up.

    `votes` shows who returned what. With --accept the result of that replica is delivered,
    and hosts whose results differ are marked for it.
    """
    if sum(given is not None and given is not False for given in ways.values()) != 1:
        raise click.UsageError("Give one of --accept REPLICA, --more N and --fail.")
    [task_id] = pick(session, [task])
    told = session.control().request("adjudicate", {"id": task_id, **ways})
    tell(session, told)
    return 0 if told["ok"] else 1
