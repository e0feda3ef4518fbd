"""The verb `wait`: return when tasks have ended, with an exit code that says how."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import click

from spoolmw.ctl.drops import find_dropped
from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import FINAL_STATES, count, short
from spoolmw.errors import BadTaskFile, NotServed, SpoolmwError, UnknownTask
from spoolmw.format.units import parse_duration

ALL_SUCCEEDED, SOME_FAILED, TIMED_OUT = 0, 1, 124
#: Seconds between looks: short at first, for scripts whose tasks are short.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 1.0
#: Seconds that a daemon may be away (a restart, an upgrade) before waiting makes no sense.
PATIENCE_S = 30.0


class Duration(click.ParamType):
    """`90s`, `6h`, `1h30m`, or a number of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The duration in seconds."""
        try:
            return float(parse_duration(value))
        except BadTaskFile as error:
            return self.fail(" ".join(str(error).splitlines()), param, ctx)


DURATION = Duration()


@verb(
    "wait",
    examples="""
    spoolmw-ctl wait fold-17 && spoolmw-ctl result fold-17
    spoolmw-ctl wait --timeout 10m $(spoolmw-ctl submit -- ./fold --seed 17)
    spoolmw-ctl ls --box fold -q | spoolmw-ctl wait --any -
    """,
)
@click.argument("tasks", nargs=-1, required=True, type=TASK)
@click.option("--timeout", "-t", type=DURATION, help="Give up after this long (exit code 124).")
@click.option("--any", "first", is_flag=True, help="Return when the first one has ended.")
@click.option(
    "--patience",
    type=DURATION,
    default=f"{PATIENCE_S:.0f}s",
    show_default=True,
    help="How long the daemon may be away before that is an error.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing, only exit.")
@click.pass_context
def wait_verb(ctx: click.Context, session: Session, tasks: tuple[str, ...], **how: Any) -> None:
    """Wait until tasks have ended.

    Exit code 0: all succeeded; 1: some failed or were cancelled or refused; 2: the daemon
    does not answer; 124: time-out. Each task is told when it ends.
    """
    waiting = Wait(session, pick(session, tasks), quiet=how["quiet"])
    ctx.exit(waiting.run(timeout_s=how["timeout"], first=how["first"], patience_s=how["patience"]))


class Wait:
    """Looks at tasks until they have ended."""

    def __init__(self, session: Session, ids: Iterable[str], *, quiet: bool) -> None:
        self._session = session
        self._open = dict.fromkeys(ids)
        self._quiet = quiet
        self._control = session.control()
        self._down_since: float | None = None
        self._missing: dict[str, float] = {}
        self.failed = 0

    def run(self, *, timeout_s: float | None, first: bool, patience_s: float) -> int:
        """Wait, and say how it ended."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause = FIRST_LOOK_S
        while not self._look(first=first):
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                self._session.screen.say(f"Timed out; {count(len(self._open), 'task')} still open.")
                return TIMED_OUT
            if self._down_since is not None and now - self._down_since >= patience_s:
                raise self._away(patience_s)
            time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - now)))
            pause = min(LONGEST_LOOK_S, pause * 1.3)
        return SOME_FAILED if self.failed else ALL_SUCCEEDED

    def _look(self, *, first: bool) -> bool:
        """Look at every open task once; True when there is nothing left to wait for."""
        ended = [task_id for task_id in list(self._open) if self._ended(task_id)]
        for task_id in ended:
            del self._open[task_id]
        return not self._open or (first and bool(ended))

    def _ended(self, task_id: str) -> bool:
        task = self._ask(task_id)
        if task is None or task["state"] not in {*FINAL_STATES, "rejected"}:
            return False
        good = task["state"] == "done"
        self.failed += not good
        if not self._quiet:
            self._tell(task, good=good)
        return True

    def _tell(self, task: dict[str, Any], *, good: bool) -> None:
        if self._session.screen.json:
            self._session.screen.record(task)
            return
        message = str(task.get("message") or "").split("\n", 1)[0]
        says = "" if good or not message else f": {message}"
        line = f"{short(task['id'])}  {task['name']}  {task['state']}{says}"
        self._session.screen.line(line, style="" if good else "red")

    def _ask(self, task_id: str) -> dict[str, Any] | None:
        """The task as it stands; None when nobody can tell now."""
        try:
            task = self._control.request("show", {"id": task_id})
        except NotServed:
            if self._down_since is None:
                self._down_since = time.monotonic()
                return self._from_disk(task_id)
            return None
        except UnknownTask:
            self._down_since = None
            return self._not_taken(task_id)
        self._down_since = None
        return dict(task)

    def _from_disk(self, task_id: str) -> dict[str, Any] | None:
        with self._session.reports() as reports:
            task = reports.task(task_id)
        return dict(task) if task is not None else self._not_taken(task_id)

    def _not_taken(self, task_id: str) -> dict[str, Any] | None:
        """A task that the daemon does not know: its file waits, was refused, or never was."""
        file = find_dropped(self._session.layout, task_id)
        if file is not None:
            self._missing.pop(task_id, None)
            if not file.refused:
                return None
            name = file.name.removesuffix(".task")
            told = " ".join(file.reason.split("\n")).strip()
            return {"id": task_id, "name": name, "state": "rejected", "message": told}
        # Between leaving incoming/ and standing in the journal a file is nowhere for a moment.
        since = self._missing.setdefault(task_id, time.monotonic())
        if time.monotonic() - since < 5.0:
            return None
        raise UnknownTask(
            f"There is no task {task_id}.",
            why="The journal does not know it and no file in incoming/ has this id.",
            fix="See which there are: spoolmw-ctl ls --all",
        )

    def _away(self, patience_s: float) -> SpoolmwError:
        return NotServed(
            f"The daemon does not answer; {count(len(self._open), 'task')} still open.",
            why=f"It was not there for {patience_s:.0f} s.",
            fix=f"Start it (spoolmwd --spool {self._session.root}) and wait again.",
        )
