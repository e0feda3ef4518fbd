"""The verbs that change tasks: `cancel`, `hold`, `release`, `retry` and `prio`.

Each asks the daemon, task by task in one request, and tells for each what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Ask the daemon for the change and tell each answer; 1 when one could not be changed."""
    control = session.control()
    ids = pick(session, tasks)
    refused = 0
    for start in range(0, len(ids), BATCH):
        answer = control.request(name, {"ids": ids[start : start + BATCH], **args})
        for told in answer["results"]:
            refused += not told["ok"]
            tell(session, told)
    return 1 if refused else 0


def tell(session: Session, told: Mapping[str, Any]) -> None:
    """What came of a wish for one task."""
    if session.screen.json:
        session.screen.record(told)
    elif told["ok"]:
        session.screen.line(f"{short(told['id'])}  {told['text']}")
    else:
        session.screen.say(f"{short(told['id'])}  not changed: {told['text']}", style="red")


@verb(
    "cancel",
    examples="""
    spoolmw-ctl cancel fold-17
    spoolmw-ctl cancel sweep.17
    spoolmw-ctl ls --box fold --state queued -q | spoolmw-ctl cancel -
    """,
)
@_TASKS
def cancel_verb(session: Session, tasks: tuple[str, ...]) -> int:
    """End tasks for good; running ones are stopped.

    With all their processes. Each still gets its result file, which says that it was cancelled.
    With an array its elements are cancelled; ARRAY.17 means one of them.
    """
    return change(session, "cancel", tasks)


@verb(
    "hold",
    examples="""
    spoolmw-ctl hold fold-17
    spoolmw-ctl ls --state queued -q | spoolmw-ctl hold -
    """,
)
@_TASKS
def hold_verb(session: Session, tasks: tuple[str, ...]) -> int:
    """Keep tasks from running until they are released.

    A running attempt is stopped; it may save its progress before. It does not count as a
    failure.
    """
    return change(session, "hold", tasks)


@verb(
    "release",
    examples="""
    spoolmw-ctl release fold-17
    spoolmw-ctl ls --state held -q | spoolmw-ctl release -
    """,
)
@_TASKS
def release_verb(session: Session, tasks: tuple[str, ...]) -> int:
    """Let held tasks run again."""
    return change(session, "release", tasks)


@verb(
    "retry",
    examples="""
    spoolmw-ctl retry fold-17
    spoolmw-ctl retry --with-successors fold-17
    spoolmw-ctl ls --state failed -q | spoolmw-ctl retry -
    spoolmw-ctl retry --fresh fold-17
    spoolmw-ctl retry --failed sweep
    """,
)
@click.option(
    "--with-successors",
    is_flag=True,
    help="Also those that failed or are held because these failed.",
)
@_TASKS
@click.option("--fresh", is_flag=True, help="From the start; the checkpoints there are go.")
@click.option("--failed", is_flag=True, help="Only what failed, not what was cancelled.")
def retry_verb(session: Session, tasks: tuple[str, ...], **how: bool) -> int:
    """Run failed or cancelled tasks once more, from their newest checkpoint.

    They have all their attempts to go. The next result gets a name of its own; the first
    one stays where it is. A task that failed because of a predecessor can be retried when
    that one was. Of an array all elements that did not succeed are run.
    """
    args = {"successors": True} if how["with_successors"] else {}
    args |= {"failed": True} if how["failed"] else {}
    return change(session, "retry", tasks, fresh=how["fresh"], **args)


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
def prio_verb(session: Session, priority: int, tasks: tuple[str, ...]) -> int:
    """Set the priority of tasks: higher ones run first.

    Then first come. What runs already is not stopped. A negative one goes behind `--`.
    """
    return change(session, "prio", tasks, priority=priority)
