"""The verb `wait`: return when tasks have ended, with an exit code that says how."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import click

from spoolmw.ctl.arrivals import Arrivals
from spoolmw.ctl.durations import DURATION
from spoolmw.ctl.picks import TASK, words_of
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import FINAL_STATES, count, short
from spoolmw.errors import NotServed, SpoolmwError, UnknownTask
from spoolmw.spooldir.where import start_command

ALL_SUCCEEDED, SOME_FAILED, TIMED_OUT = 0, 1, 124
#: Seconds between looks: short at first, for scripts whose tasks are short.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 1.0
#: Tasks looked at in one look; the next ones when these have ended.
LOOKED_AT = 256
#: Seconds that a daemon may be away (a restart, an upgrade) before waiting makes no sense.
PATIENCE_S = 30.0


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
def wait_verb(session: Session, tasks: tuple[str, ...], **how: Any) -> int:
    """Wait until tasks have ended.

    A file that was just dropped is known by its name. Exit code 0: all succeeded; 1: some
    failed or were cancelled or refused; 2: the daemon does not answer; 124: time-out. Each
    task is told when it ends.
    """
    waiting = Wait(session, words_of(tasks), quiet=how["quiet"])
    return waiting.run(timeout_s=how["timeout"], first=how["first"], patience_s=how["patience"])


class Wait:
    """Looks at tasks until they have ended."""

    def __init__(self, session: Session, words: Iterable[str], *, quiet: bool) -> None:
        self._session = session
        self._arrivals = Arrivals(session, words)
        self._open: dict[str, None] = {}
        self._quiet = quiet
        self._control = session.control()
        self._down_since: float | None = None
        self.failed = 0

    def run(self, *, timeout_s: float | None, first: bool, patience_s: float) -> int:
        """Wait, and say how it ended."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause = FIRST_LOOK_S
        while not self._look(first=first):
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                self._tell_time_out()
                return TIMED_OUT
            if self._down_since is not None and now - self._down_since >= patience_s:
                raise self._away(patience_s)
            time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - now)))
            pause = min(LONGEST_LOOK_S, pause * 1.3)
        return SOME_FAILED if self.failed else ALL_SUCCEEDED

    def _look(self, *, first: bool) -> bool:
        """Look at everything once; True when there is nothing left to wait for."""
        arrived, refused = self._arrivals.look()
        self._open.update(dict.fromkeys(arrived))
        looked_at = list(itertools.islice(self._open, None if first else LOOKED_AT))
        tasks = [
            self._task(*pair) for pair in zip(looked_at, self._ask(looked_at), strict=True)
        ]
        ended = [*refused, *(task for task in tasks if task["state"] in FINAL_STATES)]
        for task in ended:
            self._has_ended(task)
        return not (self._open or self._arrivals) or (first and bool(ended))

    def _task(self, task_id: str, answer: Any) -> dict[str, Any]:
        if isinstance(answer, UnknownTask) or answer is None:
            del self._open[task_id]
            self._arrivals.expect(task_id)  # e.g. the journal was rebuilt: it is adopted later
            return {"id": task_id, "state": "dropped"}
        if isinstance(answer, SpoolmwError):
            raise answer
        return dict(answer)

    def _ask(self, ids: list[str]) -> list[Any]:
        """What the daemon, or else the journal, tells of each: a task, or an error."""
        try:
            answers = self._control.requests("show", [{"id": task_id} for task_id in ids])
            if not ids:
                self._control.request("ping")
        except NotServed:
            if self._down_since is None:
                self._down_since = time.monotonic()
            with self._session.reports() as reports:
                return [reports.task(task_id) for task_id in ids]
        self._down_since = None
        return answers

    def _has_ended(self, task: dict[str, Any]) -> None:
        self._open.pop(task["id"], None)
        good = task["state"] == "done"
        self.failed += not good
        if self._quiet:
            return
        if self._session.screen.json:
            self._session.screen.record(task)
            return
        message = str(task.get("message") or "").split("\n", 1)[0]
        says = "" if good or not message else f": {message}"
        line = f"{short(task['id'])}  {task['name']}  {task['state']}{says}"
        self._session.screen.line(line.lstrip(), style="" if good else "red")

    def _tell_time_out(self) -> None:
        unknown = self._arrivals.nowhere()
        self._session.screen.say(f"Timed out; {self._left(unknown=len(unknown))} still open.")
        for word in unknown:
            self._session.screen.say(f"There is no task {word} so far.")

    def _left(self, *, unknown: int = 0) -> str:
        return count(len(self._open) + len(self._arrivals) - unknown, "task")

    def _away(self, patience_s: float) -> SpoolmwError:
        return NotServed(
            f"The daemon does not answer; {self._left()} still open.",
            why=f"It was not there for {patience_s:.0f} s.",
            fix=f"Start it ({start_command(self._session.layout.root)}) and wait again.",
        )
