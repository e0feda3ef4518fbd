"""The verbs that change tasks: `cancel`, `hold`, `release`, `retry` and `prio`.

Each asks the daemon, task by task in one request, and tells for each what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import short

_TASKS = click.argument("tasks", nargs=-1, required=True, type=TASK)
#: Ids in one request: well below the protocol's line of 1 MiB.
BATCH = 5000


def change(session: Session, name: str, tasks: Sequence[str], **args: object) -> int:
    """Ask the daemon for the change; tell each task's answer. 1 when one could not be changed."""
    control = session.control()
    ids = pick(session, tasks)
    refused = 0
    for start in range(0, len(ids), BATCH):
        answer = control.request(name, {"ids": ids[start : start + BATCH], **args})
        for result in answer["results"]:
            refused += not result["ok"]
            _tell(session, result)
    return 1 if refused else 0


def _tell(session: Session, result: dict[str, Any]) -> None:
    if session.screen.json:
        session.screen.record(result)
    elif result["ok"]:
        session.screen.line(f"{short(result['id'])}  {result['text']}")
    else:
        session.screen.say(f"{short(result['id'])}  {result['text']}", style="red")


@verb(
    "cancel",
    examples="""
    spoolmw-ctl cancel fold-17
    spoolmw-ctl ls --box fold --state queued -q | spoolmw-ctl cancel -
    """,
)
@_TASKS
@click.pass_context
def cancel_verb(ctx: click.Context, session: Session, tasks: tuple[str, ...]) -> None:
    """End tasks for good; a running one is stopped with all its processes.

    Each still gets its result file, which says that it was cancelled.
    """
    ctx.exit(change(session, "cancel", tasks))


@verb(
    "hold",
    examples="""
    spoolmw-ctl hold fold-17
    spoolmw-ctl ls --state queued -q | spoolmw-ctl hold -
    """,
)
@_TASKS
@click.pass_context
def hold_verb(ctx: click.Context, session: Session, tasks: tuple[str, ...]) -> None:
    """Keep tasks from running until they are released; a running attempt is stopped.

    What a stopped attempt has computed is lost; it does not count as a failure.
    """
    ctx.exit(change(session, "hold", tasks))


@verb(
    "release",
    examples="""
    spoolmw-ctl release fold-17
    spoolmw-ctl ls --state held -q | spoolmw-ctl release -
    """,
)
@_TASKS
@click.pass_context
def release_verb(ctx: click.Context, session: Session, tasks: tuple[str, ...]) -> None:
    """Let held tasks run again."""
    ctx.exit(change(session, "release", tasks))


@verb(
    "retry",
    examples="""
    spoolmw-ctl retry fold-17
    spoolmw-ctl ls --state failed -q | spoolmw-ctl retry -
    """,
)
@_TASKS
@click.pass_context
def retry_verb(ctx: click.Context, session: Session, tasks: tuple[str, ...]) -> None:
    """Run failed or cancelled tasks once more, with all their attempts to go.

    The next result gets a name of its own; the first one stays where it is.
    """
    ctx.exit(change(session, "retry", tasks))


@verb(
    "prio",
    examples="""
    spoolmw-ctl prio 10 fold-17
    spoolmw-ctl ls --box urgent -q | spoolmw-ctl prio 100 -
    spoolmw-ctl prio -- -5 fold-17
    """,
)
@click.argument("priority", type=int)
@_TASKS
@click.pass_context
def prio_verb(
    ctx: click.Context, session: Session, priority: int, tasks: tuple[str, ...]
) -> None:
    """Set the priority of tasks: higher ones run first, then first come.

    What runs already is not stopped. A negative one goes behind `--`.
    """
    ctx.exit(change(session, "prio", tasks, priority=priority))
