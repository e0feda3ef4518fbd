"""The verb `status`: is the daemon there, what does it do, how many tasks stand where."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from spoolmw.ctl.drops import count_waiting, refused
from spoolmw.ctl.places import AGENTS, agent_row
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATES, ago, size
from spoolmw.errors import NotServed

#: Files that are counted in a folder before `status` says "at least".
COUNTED = 100_000


@verb(
    "status",
    examples="""
    spoolmw-ctl status
    spoolmw-ctl status --json | jq .tasks.queued
    """,
)
def status_verb(session: Session) -> None:
    """Show the daemon, its agents, and how many tasks stand where; works with it down."""
    status = gather(session)
    if session.screen.json:
        session.screen.record(status)
        return
    session.screen.facts(_facts(status))
    session.screen.line()
    session.screen.facts(_tasks(status["tasks"]) or [("tasks", "none yet")])
    if status["agents"]:
        session.screen.line()
        session.screen.table(AGENTS, [agent_row(agent) for agent in status["agents"]])
    for warning in status["warnings"]:
        session.screen.say(warning, style="yellow")


def gather(session: Session) -> dict[str, Any]:
    """What the daemon tells; with the daemon down, what the journal and the folders tell."""
    layout = session.layout
    live = live_status(session)
    if live is None:
        with session.reports() as reports:
            tasks: Mapping[str, int] = reports.counts()
    else:
        tasks = live["tasks"]
    known = live or {}
    return {
        "spool": str(layout.root),
        "daemon": None if live is None else _daemon(live),
        "tasks": {state: int(tasks.get(state, 0)) for state in STATES},
        "incoming": count_waiting(layout, COUNTED),
        "rejected": sum(1 for _ in itertools.islice(refused(layout), COUNTED)),
        "intake": known.get("intake") or {"open": False, "reason": "the daemon does not run"},
        "draining": bool(known.get("draining")),
        "done_per_s": known.get("done_per_s"),
        "disk": known.get("disk") or {},
        "agents": known.get("agents") or [],
        "warnings": list(known.get("warnings") or ()),
    }


def live_status(session: Session) -> dict[str, Any] | None:
    """The daemon's own status; None when it does not answer."""
    try:
        return dict(session.control().request("status", {}))
    except NotServed:
        return None


def _daemon(live: Mapping[str, Any]) -> dict[str, Any]:
    return {name: live.get(name) for name in ("pid", "version", "started_at")}


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
        return f"not running; start it: spoolmwd --spool {status['spool']}"
    since = f", started {ago(daemon['started_at'])}" if daemon.get("started_at") else ""
    draining = "; draining: nothing new is started" if status["draining"] else ""
    return f"running as process {daemon['pid']}, version {daemon['version']}{since}{draining}"


def _intake_text(status: Mapping[str, Any]) -> str:
    waiting = status["incoming"]
    files = f"{waiting:,}{'+' if waiting >= COUNTED else ''} in incoming/"
    if status["intake"].get("open"):
        return f"open; {files}"
    return f"closed: {status['intake'].get('reason')}; {files}"


def _rejected_text(number: int) -> str:
    more = "+" if number >= COUNTED else ""
    return f"{number:,}{more} refused; see spoolmw-ctl ls --rejected" if number else ""


def _disk_text(disk: Mapping[str, Any]) -> str:
    if not disk.get("free_bytes"):
        return ""
    low = f"; intake stops below {size(disk['low_bytes'])}" if disk.get("low_bytes") else ""
    return f"{size(disk['free_bytes'])} free{low}"


def _tasks(tasks: Mapping[str, int]) -> Sequence[tuple[str, str]]:
    return [(state, f"{number:,}") for state, number in tasks.items() if number]
