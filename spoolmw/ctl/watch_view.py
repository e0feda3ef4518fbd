"""How the live view of `watch` looks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spoolmw.ctl.listing import says, took
from spoolmw.ctl.places import agent_says
from spoolmw.ctl.progress import in_words
from spoolmw.ctl.screen import Column, rich_table
from spoolmw.ctl.words import (
    STATE_STYLES,
    STATES,
    clock,
    count,
    duration,
    elements,
    short,
    size,
)
from spoolmw.format.names import escape

RUNNING = (
    Column("RUNNING"),
    Column("NAME"),
    Column("BOX"),
    Column("ON"),
    Column("FOR", right=True),
    Column("TRY", right=True),
    Column("PROGRESS"),
)
RECENT = (
    Column("ENDED"),
    Column("NAME"),
    Column("BOX"),
    Column("AT"),
    Column("TOOK", right=True),
    Column("STATE", states=True),
    Column("SAYS"),
)
BAR_WIDTH = 40
FAR_WIDTH = 10
ARRAYS_SHOWN = 8


def render(view: Mapping[str, Any]) -> RenderableType:
    """One refresh as something that rich can draw."""
    parts: list[RenderableType] = [_head(view), _states(view["tasks"]), _progress(view)]
    if view["agents"]:
        parts += [Text(), _agents(view["agents"])]
    if view["arrays"]:
        parts += [Text(), _arrays(view["arrays"][:ARRAYS_SHOWN])]
    if view["running"]:
        now = time.time()
        rows = [_running_row(task, now) for task in view["running"][:10]]
        parts += [Text(), rich_table(RUNNING, rows)]
    if view["recent"]:
        parts += [
            Text(),
            rich_table(RECENT, [_recent_row(task) for task in view["recent"][:8]]),
        ]
    parts += [Text(escape(warning), style="yellow") for warning in view["warnings"]]
    return Group(*parts)


def _head(view: Mapping[str, Any]) -> Text:
    daemon = view["daemon"]
    state = ("not running", "bold red") if daemon is None else ("running", "green")
    text = Text.assemble((escape(view["spool"]), "bold"), "  spoolmwd ", state)
    if daemon is not None and not view["intake"]["open"]:
        text.append(f"  intake closed: {escape(view['intake']['reason'])}", "yellow")
    if view["draining"]:
        text.append("  draining", "yellow")
    return text.append(f"  {size(view['disk']['free_bytes'])} free", "dim")


def _states(tasks: Mapping[str, int]) -> Text:
    text = Text()
    for state in STATES:
        if tasks[state]:
            text.append(f"{tasks[state]:,} {state}  ", STATE_STYLES[state])
    return text if text else Text("no tasks yet", "dim")


def _progress(view: Mapping[str, Any]) -> Table:
    """Of what was open when watching began, and came since: how much has ended."""
    total = view["open"] + view["ended"]
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        _bar(view["ended"] if total else 1, total, BAR_WIDTH),
        Text(f"{view['ended']:,} of {total:,}" if total else "nothing open"),
        Text(f"{view['per_s']:.1f}/s" if view["per_s"] else "", "cyan"),
        Text(f"{duration(view['eta_s'])} to go" if view["eta_s"] else "", "dim"),
    )
    return grid


def _bar(completed: int, total: int, width: int) -> ProgressBar:
    return ProgressBar(
        total=max(1, total),
        completed=min(completed, max(1, total)),
        width=width,
        complete_style="cyan",
        finished_style="green",
    )


def _agents(agents: Sequence[Mapping[str, Any]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for agent in agents:
        slots = int(agent["slots"])
        running = int(agent["running"])
        grid.add_row(
            Text(escape(agent["name"]), "bold"),
            _bar(running, slots, BAR_WIDTH // 2),
            Text(f"{running} of {count(slots, 'slot')} busy"),
            Text(escape(agent_says(agent)), "yellow"),
        )
    return grid


def _arrays(arrays: Sequence[Mapping[str, Any]]) -> Table:
    """How far each open array is, with its counts."""
    grid = Table.grid(padding=(0, 1))
    for array in arrays:
        counts = array["elements"]
        ended = counts["total"] - counts["unmade"] - counts["open"]
        grid.add_row(
            Text(escape(array["name"]), "bold"),
            _bar(ended, counts["total"], BAR_WIDTH // 2),
            Text(elements(counts)),
            Text(array["state"] if array["state"] != "expanding" else "", "yellow"),
        )
    return grid


def _running_row(task: Mapping[str, Any], now: float) -> tuple[str, ...]:
    started = task.get("started_at")
    where = " ".join(part for part in (task.get("agent"), task.get("slot")) if part)
    since = duration(now - started) if started else ""
    return (
        short(task["id"]),
        task["name"],
        task["box"],
        where,
        since,
        str(task["attempt"]),
        _far(task.get("progress")),
    )


def _far(told: Mapping[str, Any] | None) -> str:
    if not told:
        return ""
    full = int(FAR_WIDTH * told["fraction"])
    return f"{'#' * full}{'.' * (FAR_WIDTH - full)} {in_words(told)}"


def _recent_row(task: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        short(task["id"]),
        task["name"],
        task["box"],
        clock(task.get("ended_at")),
        duration(took(task)),
        task["state"],
        says(task),
    )
