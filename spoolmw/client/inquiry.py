"""Asks the daemon about tasks that take long, and says so when it does not answer.

Results are found without asking. Asking is for what no file tells: that a result was taken
away by somebody else, that its name changed, that nobody serves the spool.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from spoolmw.client.control import ControlClient
from spoolmw.client.future import SpoolTask
from spoolmw.errors import NotServed, SpoolmwError, UnknownTask
from spoolmw.spooldir.layout import Layout, active_name

#: Seconds that a task is waited for before anybody is asked about it.
PATIENCE_S = 1.5
#: Seconds between two rounds of questions; doubles while nothing is found out.
SHORTEST_S, LONGEST_S = 1.0, 4.0
#: Questions in one round.
ROUND = 16
#: Seconds of silence, or of a task lying in `incoming/`, after which a warning is due.
WARN_AFTER_S = 10.0
#: Seconds that the daemon has to answer; results are not looked for meanwhile.
ANSWER_S = 0.5

log = logging.getLogger("spoolmw.client")


class Inquiry:
    """The questions of one waiting thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._next = 0.0
        self._pause = SHORTEST_S
        self._silent_since = 0.0
        self._untaken_since = 0.0
        self._warned: set[str] = set()

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def until_due(self, now: float) -> float:
        return max(0.0, self._next - now)

    def hurry(self, now: float) -> None:
        """Something was found out: ask again soon."""
        self._next, self._pause = min(self._next, now + SHORTEST_S), SHORTEST_S

    def ask(self, tasks: Sequence[SpoolTask], now: float) -> list[tuple[SpoolTask, Any]]:
        """What the daemon knows of each task: its record, or UnknownTask. Empty when it is down."""
        if not tasks:
            self._next, self._pause = now + SHORTEST_S / 2, SHORTEST_S
            self._silent_since = self._untaken_since = 0.0
            return []
        self._next = now + self._pause
        self._pause = min(LONGEST_S, self._pause * 2)
        try:
            with ControlClient(self._layout.root, timeout_s=ANSWER_S) as control:
                answers = control.requests("show", [{"id": task.id} for task in tasks])
        except NotServed as error:
            self._silence(error, tasks, now)
            return []
        self._heard(tasks, answers, now)
        return [
            (task, answer)
            for task, answer in zip(tasks, answers, strict=True)
            if not isinstance(answer, SpoolmwError) or isinstance(answer, UnknownTask)
        ]

    def _silence(self, error: NotServed, tasks: Sequence[SpoolTask], now: float) -> None:
        self._next, self._pause = now + SHORTEST_S, SHORTEST_S
        self._silent_since = self._silent_since or now
        if now - self._silent_since < WARN_AFTER_S or "silent" in self._warned:
            return
        self._warned.add("silent")
        task = tasks[0]
        if self.is_untaken(task):
            place = f"waits in {self._layout.incoming / task.box}"
        else:
            place = "was accepted and goes on when the daemon is back"
        log.warning("%s %s (%s) %s; still waiting.", error, task.name, task.id, place)

    def _heard(self, tasks: Sequence[SpoolTask], answers: Sequence[Any], now: float) -> None:
        if "silent" in self._warned:
            log.warning("spoolmwd answers again.")
        self._silent_since = 0.0
        self._warned.discard("silent")
        for task, answer in zip(tasks, answers, strict=True):
            if isinstance(answer, UnknownTask) and self.is_untaken(task):
                self._untaken(task, now)
                return
        self._untaken_since = 0.0
        self._warned.discard("untaken")

    def _untaken(self, task: SpoolTask, now: float) -> None:
        self._untaken_since = self._untaken_since or now
        if now - self._untaken_since < WARN_AFTER_S or "untaken" in self._warned:
            return
        self._warned.add("untaken")
        log.warning(
            "spoolmwd runs, but %s (%s) has been lying in %s for a while; still waiting. "
            "`spoolmw-ctl status` says whether intake is closed, and why.",
            task.name,
            task.id,
            self._layout.incoming / task.box,
        )

    def is_untaken(self, task: SpoolTask) -> bool:
        """Whether the task's file still lies in `incoming/`."""
        return os.path.lexists(self._layout.incoming / task.box / task.dropped)

    def is_in_spool(self, task: SpoolTask) -> bool:
        """Whether the task's file lies in `incoming/`, or was taken and is not committed yet.

        Who may not look into `active/` gets the benefit of the doubt.
        """
        if self.is_untaken(task):
            return True
        try:
            owner = task.id if task.array is None else task.array.id
            os.lstat(self._layout.active / active_name(owner, task.box, task.dropped))
        except PermissionError:
            return True
        except OSError:
            return False
        return True
