"""The verb `watch`: what happens now, with progress, until it is interrupted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import click
from rich.live import Live

from spoolmw.ctl.durations import DURATION
from spoolmw.ctl.progress import told_progress
from spoolmw.ctl.session import Session
from spoolmw.ctl.status import gather
from spoolmw.ctl.verb import verb
from spoolmw.ctl.watch_view import render
from spoolmw.ctl.words import FINAL_STATES, STATES, count, duration

#: Running and recently ended tasks that a look takes.
SHOWN = 20
#: Seconds over which the rate is measured.
WINDOW_S = 10.0


@verb(
    "watch",
    examples="""
    spoolmw-ctl watch
    spoolmw-ctl watch --box fold --until-idle
    spoolmw-ctl watch --once --json | jq .per_s
    """,
)
@click.option("--box", "-b", help="Show tasks of this box only (the counts are of all).")
@click.option(
    "--interval",
    "-i",
    type=DURATION,
    default="1s",
    show_default=True,
    help="Between two looks.",
)
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--until-idle", is_flag=True, help="End when no task is open any more.")
def watch_verb(
    session: Session, *, box: str | None, interval: float, once: bool, until_idle: bool
) -> None:
    """Show tasks, agents and progress, live; end it with Ctrl-C.

    With --json one line for each look.
    """
    watch = Watch(session, box)
    try:
        if session.screen.json or once or not session.screen.out.is_terminal:
            watch.plainly(interval, once=once, until_idle=until_idle)
        else:
            watch.live(interval, until_idle=until_idle)
    except KeyboardInterrupt:
        return  # its ordinary end


class Watch:
    """Looks again and again, and knows how fast things go."""

    def __init__(self, session: Session, box: str | None) -> None:
        self._session = session
        self._box = box
        self._samples: deque[tuple[float, int]] = deque()
        self._started = time.monotonic()
        self._first: Mapping[str, int] | None = None

    def look(self) -> dict[str, Any]:
        """Everything that one refresh shows; the keys are what `--json` prints."""
        status = gather(self._session)
        tasks = status["tasks"]
        if self._first is None:
            self._first = dict(tasks)
        ended = _ended(tasks)
        unfinished = sum(tasks.values()) - ended + status["incoming"] + status["unmade"]
        per_s = self._rate(ended)
        return {
            "at": time.time(),
            **status,
            "open": unfinished,
            "ended": ended - _ended(self._first),
            "per_s": per_s,
            "eta_s": unfinished / per_s if per_s else None,
            "arrays": self._arrays(),
            "running": self._running(),
            "recent": self._recent(),
        }

    def _rate(self, ended: int) -> float | None:
        """Tasks that ended in each second, over the last looks; None before the second look."""
        now = time.monotonic()
        self._samples.append((now, ended))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return max(0, ended - before) / (now - then) if now > then else None

    def _running(self) -> list[dict[str, Any]]:
        with self._session.reports() as reports:
            found = reports.tasks(state="running", box=self._box, limit=SHOWN)
            tasks = [dict(task) for task in found]
        told = told_progress(self._session, [task["id"] for task in tasks])
        return [{**task, "progress": told.get(task["id"])} for task in tasks]

    def _arrays(self) -> list[dict[str, Any]]:
        with self._session.reports() as reports:
            found = reports.open_arrays()
        return [array for array in found if self._box in (None, array["box"])][:SHOWN]

    def _recent(self) -> list[dict[str, Any]]:
        with self._session.reports() as reports:
            return [dict(task) for task in reports.recent(box=self._box, limit=SHOWN)]

    def plainly(self, interval: float, *, once: bool, until_idle: bool) -> None:
        """A line for each look."""
        while True:
            view = self.look()
            if self._session.screen.json:
                self._session.screen.record(view)
            elif self._session.screen.out.is_terminal:
                self._session.screen.out.print(render(view), soft_wrap=False)
            else:
                self._session.screen.line(_line(view))
            if once or (until_idle and not view["open"]):
                return
            time.sleep(interval)

    def live(self, interval: float, *, until_idle: bool) -> None:
        """A view that stays in place."""
        view = self.look()
        with Live(render(view), console=self._session.screen.out, auto_refresh=False) as live:
            while not (until_idle and not view["open"]):
                time.sleep(interval)
                view = self.look()
                live.update(render(view), refresh=True)


def _ended(tasks: Mapping[str, int]) -> int:
    return sum(number for state, number in tasks.items() if state in FINAL_STATES)


def _line(view: Mapping[str, Any]) -> str:
    states = [f"{view['tasks'][state]:,} {state}" for state in STATES if view["tasks"][state]]
    parts = [", ".join(states) or "no tasks", f"{count(view['incoming'], 'file')} in incoming"]
    if view["per_s"]:
        parts.append(f"{view['per_s']:.1f} tasks/s")
    if view["eta_s"]:
        parts.append(f"{duration(view['eta_s'])} to go")
    return "; ".join(parts)
