"""A line on standard error that tells how far a batch of tasks is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TextIO

from spoolmw.client.future import Progress, SpoolTask
from spoolmw.model.ids import TaskId

#: Seconds between two redrawings, on a terminal and elsewhere.
TERMINAL_S, ELSEWHERE_S = 0.1, 10.0
WIDTH = 30
#: Seconds between two questions to the daemon how far the running tasks are.
ASK_S = 2.0
#: How far these tasks are, by id, as far as they said so.
Ask = Callable[[Sequence[SpoolTask]], Mapping[str, Progress]]


class ProgressLine:
    """Counts tasks as they end, and what the running ones say of themselves.

    On a terminal the line redraws itself; else lines are few.
    """

    def __init__(
        self, tasks: Sequence[SpoolTask], stream: TextIO | None = None, ask: Ask | None = None
    ) -> None:
        self._tasks = tasks
        self._ask = ask
        self._far: dict[
            TaskId, float
        ] = {}  #: what running tasks have done of themselves, by id
        self._over = threading.Event()
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._done = self._failed = 0
        self._started = time.monotonic()
        self._drawn_at = self._started
        self._drawn = 0
        self._is_terminal = self._stream.isatty() or "ipykernel" in sys.modules

    def show(self) -> None:
        """Begin to tell; it goes on by itself until all have ended."""
        self._draw(self.line(time.monotonic()))
        for task in self._tasks:
            task.add_done_callback(self._ended)
        if self._ask is not None and self._tasks:
            threading.Thread(target=self._listen, name="progress", daemon=True).start()

    def _listen(self) -> None:
        """Ask how far the running tasks are, until all have ended."""
        while not self._over.wait(ASK_S):
            self.ask()

    def ask(self) -> None:
        """Ask once, and redraw if anything is new."""
        running = [task for task in self._tasks if not Future.done(task)]
        told = self._ask(running) if self._ask is not None and running else {}
        with self._lock:
            far = {
                task.id: told[task.id].fraction
                for task in running
                if task.id in told and not Future.done(task)
            }
            if far != self._far:
                self._far = far
                self._redraw(time.monotonic())

    def line(self, now: float) -> str:
        """How far it is, as one line."""
        total, done = len(self._tasks), self._done
        in_all = done + sum(self._far.values())
        share = in_all / total if total else 1.0
        full = int(WIDTH * share)
        seconds = now - self._started
        parts = [f"{'#' * full}{'.' * (WIDTH - full)} {done}/{total} {100 * share:.0f} %"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts.append(_span(seconds))
        if 0 < in_all < total:
            parts.append(f"about {_span(seconds / in_all * (total - in_all))} to go")
        return ", ".join(parts)

    def _ended(self, task: Future[Any]) -> None:
        with self._lock:
            self._done += 1
            self._far.pop(getattr(task, "id", TaskId("")), None)
            if task.cancelled() or task.exception() is not None:
                self._failed += 1
            if self._done == len(self._tasks):
                self._over.set()
            self._redraw(time.monotonic())

    def _redraw(self, now: float) -> None:
        is_last = self._done == len(self._tasks)
        pause = TERMINAL_S if self._is_terminal else ELSEWHERE_S
        if is_last or now - self._drawn_at >= pause:
            self._drawn_at = now
            self._draw(self.line(now), is_last=is_last)

    def _draw(self, line: str, *, is_last: bool = False) -> None:
        try:
            if self._is_terminal:
                blank = " " * max(0, self._drawn - len(line))
                self._stream.write(f"\r{line}{blank}" + ("\n" if is_last else ""))
                self._drawn = len(line)
            else:
                self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # the terminal is gone; the work goes on


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
