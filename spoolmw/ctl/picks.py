"""Which tasks are meant: ids, the beginnings of ids, keys, names, and `-` for stdin.

What is not in the journal yet is looked up in `incoming/`, and what was refused in `rejected/`,
so that a task can be named from the moment on that its file was dropped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Any

import click
from click.shell_completion import CompletionItem

from spoolmw.ctl.drops import find_dropped
from spoolmw.ctl.session import Session
from spoolmw.ctl.words import short
from spoolmw.errors import SpoolmwError, UnknownTask
from spoolmw.format.ids import is_task_id, made_at
from spoolmw.store.reports import Reports

#: How many candidates an error names.
MANY = 8


class TaskParam(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.1
    """A task on the command line; completes ids, with names as help."""

    name = "task"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the newest tasks whose id, key or name begins so; nothing on any trouble."""
        try:
            return list(_offers(ctx.ensure_object(Session), incomplete))
        except (SpoolmwError, OSError):
            return []


TASK = TaskParam()


def _offers(session: Session, incomplete: str) -> Iterator[CompletionItem]:
    with session.reports() as reports:
        for task in reports.tasks(limit=2000, newest=True, elements=False):
            for word in (task["id"], task["name"], task["key"]):
                if word and word.startswith(incomplete):
                    yield CompletionItem(word, help=f"{task['name']} {task['state']}")
                    break


def words_of(given: Iterable[str]) -> list[str]:
    """The words given, with `-` replaced by the lines of stdin (plain, or JSON with an id)."""
    words: list[str] = []
    for word in given:
        words += _from_stdin() if word == "-" else [word]
    return words


def _from_stdin() -> list[str]:
    lines = (line.strip() for line in sys.stdin)
    return [_id_in(line) for line in lines if line]


def _id_in(line: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        record: Any = json.loads(line)
    except ValueError:
        raise UnknownTask(
            "A line on stdin is neither the name of a task nor JSON.",
            why=f"It begins with {line[:40]!r}.",
            fix="Give one id, name or key a line, or JSON Lines with an `id`.",
        ) from None
    if isinstance(record, dict) and isinstance(record.get("id"), str):
        return str(record["id"])
    raise UnknownTask(
        "A JSON line on stdin has no `id`.", fix="Pipe what `spoolmw-ctl ls --json` prints."
    )


def pick(session: Session, words: Iterable[str], *, newest: bool = False) -> list[str]:
    """The full ids of the tasks meant, each once, in the order given.

    Of several tasks with one name the `newest` is meant where nothing is changed; else it is
    an error.
    """
    with session.reports() as reports:
        picked = [_pick_one(session, reports, word, newest=newest) for word in words_of(words)]
    return list(dict.fromkeys(picked))


def _pick_one(session: Session, reports: Reports, word: str, *, newest: bool) -> str:
    found = known_id(session, reports, word, newest=newest)
    if found is not None:
        return found
    if id_in(word):
        return id_in(word)
    dropped = find_dropped(session.layout, word)
    if dropped is None:
        raise unknown(word)
    if not (dropped.task_id and newest):  # nothing is changed by a name that may mean several
        raise UnknownTask(f"{word} is no task yet.", why=dropped.text, fix=dropped.fix)
    return dropped.task_id


def known_id(
    session: Session, reports: Reports, word: str, *, newest: bool, since: float = 0.0
) -> str | None:
    """The id of the one task in the journal that `word` means; None when there is none.

    Only tasks that were made after `since` (wall clock) count.
    """
    ids = reports.resolve(id_in(word) or word)
    found = [str(task_id) for task_id in ids if made_at(task_id) >= since]
    if len(found) <= 1:
        return found[0] if found else None
    by_name = not all(task_id.startswith(word) for task_id in found)
    if not (newest and by_name):
        raise _ambiguous(reports, word, found)
    latest = max(found)  # ids sort by time
    session.screen.say(f"{len(found)} tasks are called {word}; the newest is {short(latest)}.")
    return latest


def id_in(word: str) -> str:
    """The id at the end of what is an id or a file's name with one; else empty."""
    stem = word.removesuffix(".task").removesuffix(".result")
    return stem[-32:] if is_task_id(stem[-32:]) else ""


def unknown(word: str) -> UnknownTask:
    """Nobody knows a task of this name."""
    return UnknownTask(
        f"There is no task {word}.",
        why="No task's id begins so, none has this name or key, and no such file was dropped.",
        fix="See which there are: spoolmw-ctl ls --all",
    )


def _ambiguous(reports: Reports, word: str, found: list[str]) -> UnknownTask:
    known = (reports.task(task_id) for task_id in found[:MANY])
    lines = [f"{short(t['id'])} ({t['name']}, {t['state']})" for t in known if t is not None]
    more = f" and {len(found) - MANY} more" if len(found) > MANY else ""
    return UnknownTask(
        f"{word} means {len(found)} tasks.",
        why="These: " + ", ".join(lines) + more + ".",
        fix="Give more of the id, or all of them: "
        f"spoolmw-ctl ls --name {quote(word)} -q | spoolmw-ctl VERB -",
    )
