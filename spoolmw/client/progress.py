"""A line on standard error that tells how far a batch of tasks is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TextIO

from spoolmw.client.future import SpoolTask

#: Seconds between two redrawings, on a terminal and elsewhere.
TERMINAL_S, ELSEWHERE_S = 0.1, 10.0
WIDTH = 30


class Progress:
    """Counts tasks as they end. On a terminal the line redraws itself; else lines are few."""

    def __init__(self, tasks: Sequence[SpoolTask], stream: TextIO | None = None) -> None:
        self._tasks = tasks
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

    def line(self, now: float) -> str:
        """How far it is, as one line."""
        total, done = len(self._tasks), self._done
        share = done / total if total else 1.0
        full = int(WIDTH * share)
        seconds = now - self._started
        parts = [f"{'#' * full}{'.' * (WIDTH - full)} {done}/{total} {100 * share:.0f} %"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts.append(_span(seconds))
        if 0 < done < total:
            parts.append(f"about {_span(seconds / done * (total - done))} to go")
        return ", ".join(parts)

    def _ended(self, task: Future[Any]) -> None:
        with self._lock:
            self._done += 1
            if task.cancelled() or task.exception() is not None:
                self._failed += 1
            now = time.monotonic()
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
