"""The verb `status`: is the daemon there, what does it do, how many tasks stand where."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spoolmw.ctl.drops import closed, count_waiting, refused
from spoolmw.ctl.places import AGENTS, agent_row
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATES, ago, count, size
from spoolmw.errors import NotServed
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.where import start_command

#: Files that are counted in a folder before `status` says "at least".
COUNTED = 100_000
#: Files that a warning names.
NAMED = 3


@verb(
    "status",
    examples="""
    spoolmw-ctl status
    spoolmw-ctl status --json | jq .tasks.queued
    """,
)
def status_verb(session: Session) -> None:
    """Show the daemon, its agents, and how many tasks stand where.

    Works while the daemon is down.
    """
    status = gather(session)
    if session.screen.json:
        session.screen.record(status)
        return
    session.screen.facts(_facts(status))
    session.screen.line()
    session.screen.facts(_tasks(status["tasks"], status["unmade"]) or [("tasks", "none yet")])
    if status["agents"]:
        session.screen.line()
        session.screen.table(AGENTS, [agent_row(agent) for agent in status["agents"]])
    for warning in status["warnings"]:
        session.screen.say(warning, style="yellow")


def gather(session: Session) -> dict[str, Any]:
    """What the daemon tells; with the daemon down, what the journal and the folders tell."""
    layout = session.layout
    try:
        live = dict(session.control().request("status"))
        tasks = live["tasks"]
    except NotServed:
        live = {}
        with session.reports() as reports:
            tasks = reports.counts()
            live = {"unmade": sum(a["elements"]["unmade"] for a in reports.open_arrays())}
    return {
        "spool": str(layout.root),
        "daemon": {key: live[key] for key in ("pid", "version", "started_at")}
        if "pid" in live
        else None,
        "tasks": {state: int(tasks.get(state, 0)) for state in STATES},
        "unmade": int(live.get("unmade", 0)),
        "incoming": count_waiting(layout, COUNTED),
        "rejected": sum(1 for _ in itertools.islice(refused(layout), COUNTED)),
        "intake": live.get("intake", {"open": False, "reason": "the daemon does not run"}),
        "draining": bool(live.get("draining")),
        "done_per_s": live.get("done_per_s"),
        "disk": live.get("disk") or {"free_bytes": _free_bytes(layout), "low_bytes": None},
        "agents": live.get("agents", []),
        "warnings": [*live.get("warnings", []), *_closed(layout)],
    }


def _closed(layout: Layout) -> Iterator[str]:
    """Files that would lie in `incoming/` for ever; the daemon tells of them in its log only."""
    files = closed(layout)
    if files:
        names = ", ".join(file.name for file in files[:NAMED])
        number = count(len(files), "file")
        yield f"{number} in incoming/ may not be read by {files[0].closed_to}, the daemon's user: {names}"


def _free_bytes(layout: Layout) -> int:
    room = os.statvfs(layout.root)
    return room.f_bavail * room.f_frsize


def _facts(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("spool", status["spool"]),
        ("daemon", _daemon_text(status)),
        ("intake", _intake_text(status)),
        ("rejected", _rejected_text(status["rejected"])),
        ("disk", _disk_text(status["disk"])),
    ]


def _daemon_text(status: Mapping[str, Any]) -> str:
    daemon = status["daemon"]
    if daemon is None:
        return f"not running; start it: {start_command(status['spool'])}"
    draining = "; draining: nothing new is started" if status["draining"] else ""
    since = f"started {ago(daemon['started_at'])}"
    return f"process {daemon['pid']}, version {daemon['version']}, {since}{draining}"


def _intake_text(status: Mapping[str, Any]) -> str:
    waiting, intake = status["incoming"], status["intake"]
    state = "open" if intake["open"] else f"closed: {intake['reason']}"
    return f"{state}; {waiting:,}{'+' if waiting >= COUNTED else ''} in incoming/"


def _disk_text(disk: Mapping[str, Any]) -> str:
    low = f"; the intake stops below {size(disk['low_bytes'])}" if disk["low_bytes"] else ""
    return f"{size(disk['free_bytes'])} free{low}"


def _rejected_text(number: int) -> str:
    more = "+" if number >= COUNTED else ""
    return f"{number:,}{more} refused; see spoolmw-ctl ls --rejected" if number else ""


def _tasks(tasks: Mapping[str, int], unmade: int) -> Sequence[tuple[str, str]]:
    """How many tasks stand where, and how many elements of arrays are to become tasks."""
    rows = [*tasks.items(), ("to come", unmade)]
    return [(state, f"{number:,}") for state, number in rows if number]
