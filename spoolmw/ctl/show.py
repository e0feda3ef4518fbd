"""The verbs `show` (everything about a task) and `why` (the one reason that it waits)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from spoolmw.ctl.ballots import in_words as votes_in_words
from spoolmw.ctl.ballots import way_out
from spoolmw.ctl.drops import find_dropped
from spoolmw.ctl.listing import says, took
from spoolmw.ctl.picks import TASK, pick, unknown
from spoolmw.ctl.progress import in_words, told_progress
from spoolmw.ctl.reasons import Reason, reason_for
from spoolmw.ctl.saved import newest
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import (
    STATE_STYLES,
    ago,
    clock,
    count,
    duration,
    elements,
    short,
    size,
)

ATTEMPTS = (
    Column("ATTEMPT", right=True),
    Column("AGENT"),
    Column("HOST"),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("OUTCOME"),
    Column("BLAME"),
    Column("SAYS"),
)
#: Predecessors that are shown one by one.
MOST = 10
#: Failed elements of an array that `show` names.
FAILED_SHOWN = 10
_TASKS = click.argument("tasks", nargs=-1, required=True, type=TASK)


def task_record(session: Session, task_id: str) -> dict[str, Any]:
    """The task as the journal knows it; one that was only dropped is told from its file."""
    with session.reports() as reports:
        task = reports.task(task_id)
        if task is not None and task.get("elements", {}).get("failed"):
            failed = reports.elements(task_id, state="failed", limit=FAILED_SHOWN)
            task["failed_elements"] = [each["name"] for each in failed]
    if task is not None:
        return dict(task)
    dropped = find_dropped(session.layout, task_id)
    if dropped is None:
        raise unknown(task_id)
    return {
        "id": task_id,
        "name": dropped.called,
        "box": dropped.box,
        "state": "rejected" if dropped.refused else "dropped",
        "message": dropped.text,
    }


def told_task(session: Session, task_id: str) -> dict[str, Any]:
    """The task with what stands outside the journal: its newest checkpoint, and its progress."""
    task = task_record(session, task_id)
    if "state" not in task or "since" not in task:
        return task
    task["checkpoint"] = newest(session, task)
    task["progress"] = None
    if task["state"] == "running":
        task["progress"] = told_progress(session, [task_id]).get(task_id)
    return task


@verb(
    "show",
    examples="""
    spoolmw-ctl show fold-17
    spoolmw-ctl show --story fold-17
    spoolmw-ctl show --json 0193f3a1b2c4 | jq .attempts
    """,
)
@_TASKS
@click.option("--story", is_flag=True, help="Also every event, in order.")
def show_verb(session: Session, tasks: tuple[str, ...], *, story: bool) -> None:
    """Tell everything about tasks.

    Works while the daemon is down.
    """
    for number, task_id in enumerate(pick(session, tasks, newest=True)):
        task = told_task(session, task_id)
        events = _story(session, task_id) if story else []
        task["resumes"] = _resumed(session, task)
        if session.screen.json:
            session.screen.record({**task, "story": events} if story else task)
            continue
        if number:
            session.screen.line()
        _show(session, task)
        if story:
            session.screen.line()
            _show_story(session, events)


def _resumed(session: Session, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events that tell from where attempts went on, and what was damaged."""
    if task.get("attempt", 0) < 1:
        return []
    found = (event for event in _story(session, task["id"]) if event["event"] == "resumed")
    keys = ("at", "attempt", "from", "message")
    return [{key: event.get(key, "") for key in keys} for event in found]


def _story(session: Session, task_id: str) -> list[dict[str, Any]]:
    with session.reports() as reports:
        return list(reports.story(task_id))


def _show(session: Session, task: Mapping[str, Any]) -> None:
    state = task["state"]
    session.screen.line(f"{task['name']}: {state}", style=STATE_STYLES.get(state, "bold"))
    session.screen.facts(_facts(session, task))
    attempts = task.get("attempts") or ()
    if attempts:
        session.screen.line()
        session.screen.table(ATTEMPTS, [_attempt(attempt) for attempt in attempts])


def _facts(session: Session, task: Mapping[str, Any]) -> list[tuple[str, str]]:
    submitted = task.get("submitted_at")
    return [
        ("id", task["id"]),
        ("box", task["box"]),
        ("key", task.get("key") or ""),
        ("array", _array(task)),
        ("elements", elements(task["elements"]) if task.get("elements") else ""),
        ("failed", ", ".join(task.get("failed_elements") or ())),
        ("votes", votes_in_words(task["votes"]) if "votes" in task else ""),
        ("says", says(task)),
        ("decide", way_out(task)),
        ("after", _after(session, task)),
        ("submitted", f"{clock(submitted)} ({ago(submitted)})" if submitted else ""),
        ("priority", str(task.get("priority") or "")),
        ("result", task.get("result") or ""),
        ("asks for", _asked(task.get("spec") or {})),
        ("runs", _runs(task["spec"]) if task.get("spec") else ""),
        ("on", _where(task)),
        ("progress", in_words(task.get("progress"))),
        ("checkpoint", _checkpoint(task.get("checkpoint"))),
        *_resumes(task.get("resumes") or ()),
    ]


def _after(session: Session, task: Mapping[str, Any]) -> str:
    """Its predecessors, as far as they are known; and how each stands."""
    words = (task.get("spec") or {}).get("after") or ()
    if not words:
        return ""
    with session.reports() as reports:
        known = [reports.task(each) if each else None for each in task["predecessors"][:MOST]]
    lines = [
        f"{found['name']} ({short(found['id'])}), {found['state']}" if found else word
        for word, found in zip(words, known, strict=False)
    ]
    more = [f"and {len(words) - MOST} more"] if len(words) > MOST else []
    held = ["a failure of one holds it"] if task["spec"]["after_failed"] == "hold" else []
    return "\n".join(lines + more + held)


def _checkpoint(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if found["damage"]:
        return f"{found['checkpoint']} is damaged: {found['damage']}"
    saved_at = found["saved_at"]
    when = f"{clock(saved_at)} ({ago(saved_at)})"
    return f"{found['checkpoint']}, {size(found['bytes'])}, saved {when}"


def _resumes(told: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """How often it went on from a checkpoint, and each that was damaged."""
    if not told:
        return []
    went_on = [event for event in told if event.get("from")]
    last = f"{count(len(went_on), 'time')}, last from {went_on[-1]['from']}" if went_on else ""
    damaged = [("damaged", event["message"]) for event in told if event.get("message")]
    return [("resumed", last), *damaged]


def _asked(spec: Mapping[str, Any]) -> str:
    resources, limits = spec.get("resources", {}), spec.get("limits", {})
    parts = [
        f"{resources['cpus']} cpus" if resources.get("cpus", 1) != 1 else "",
        f"{size(resources['memory_bytes'])} memory" if resources.get("memory_bytes") else "",
        f"{resources['gpus']} gpus" if resources.get("gpus") else "",
        f"{duration(limits['time_s'])} at most" if limits.get("time_s") else "",
    ]
    return ", ".join(part for part in parts if part)


def _runs(spec: Mapping[str, Any]) -> str:
    run = spec.get("run", {})
    if run.get("script"):
        return " ".join(["a script", *run.get("command", ())])
    if run.get("command"):
        return " ".join(run["command"])
    python = spec.get("place", {}).get("interpreter", "")
    return f"a Python call in {python}" if python else "a Python call"


def _array(task: Mapping[str, Any]) -> str:
    if not task.get("array"):
        return ""
    line = f", line {task['line']!r}" if "line" in task else ""
    return f"element {task['index']} of {task['array']}{line}"


def _where(task: Mapping[str, Any]) -> str:
    if task["state"] != "running" or not task.get("agent"):
        return ""
    parts = [task["agent"], task.get("host") or "", task.get("slot") or ""]
    return " ".join(part for part in parts if part)


def _attempt(attempt: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _number(attempt),
        attempt["agent"],
        attempt.get("host") or "",
        clock(attempt.get("started_at")),
        duration(took(attempt)),
        duration(attempt.get("cpu_s")),
        size(attempt["memory_bytes"]) if attempt.get("memory_bytes") else "",
        attempt["outcome"],
        attempt.get("blame") or "",
        (attempt.get("message") or attempt.get("cause") or "").split("\n", 1)[0],
    )


def _number(attempt: Mapping[str, Any]) -> str:
    """Of a task with redundancy REPLICA.ATTEMPT."""
    of = f"{attempt['replica']}." if "replica" in attempt else ""
    return f"{of}{attempt['attempt']}"


def _show_story(session: Session, events: Sequence[Mapping[str, Any]]) -> None:
    rows = [(clock(event["at"]), event["event"], event.get("text") or "") for event in events]
    session.screen.table((Column("AT"), Column("EVENT"), Column("SAYS")), rows)


@verb(
    "why",
    examples="""
    spoolmw-ctl why fold-17
    spoolmw-ctl ls --state queued -q | spoolmw-ctl why -
    """,
)
@_TASKS
def why_verb(session: Session, tasks: tuple[str, ...]) -> None:
    """Say in one line why a task waits (or that it does not).

    Also of files that were dropped and not taken, and with the daemon down.
    """
    ids = pick(session, tasks, newest=True)
    for task_id in ids:
        reason = reason_for(session, task_id)
        if session.screen.json:
            session.screen.record(reason.record())
        else:
            session.screen.line(_in_line(reason, alone=len(ids) == 1))


def _in_line(reason: Reason, *, alone: bool) -> str:
    return reason.text if alone else f"{reason.name}: {reason.text}"
