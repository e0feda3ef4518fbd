"""Lets all attempts of a runner stand still for a while, and go on as if no time had passed.

Rule: time that an attempt stood still counts for none of its limits.
"""

from __future__ import annotations

import signal
from typing import Optional

from . import process
from .crew import Member
from .pool import Pool


class Standstill:
    """Whether the workers of a pool, with all below them, stand still."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._since: Optional[float] = None

    @property
    def is_on(self) -> bool:
        return self._since is not None

    def obey(self, now: float, *, on: bool) -> None:
        """Stop them, or let them go on; what is so already is no error."""
        if on:
            self._begin(now)
        else:
            self.end(now)

    def _begin(self, now: float) -> None:
        if self._since is None:
            self._since = now
            for member in self._pool.crew.values():
                process.stop_tree(member.pid, root_too=True)

    def end(self, now: float) -> None:
        """Let them go on, if they stand."""
        if self._since is None:
            return
        stood_s, self._since = now - self._since, None
        for member in self._pool.crew.values():
            _move(member, stood_s)
            process.signal_tree(member.pid, signal.SIGCONT, root_too=True)


def _move(member: Member, later_s: float) -> None:
    """Let the clocks of a worker's limits stand still in hindsight."""
    member.born += later_s
    member.since += later_s
    for attempt in member.sent:
        if attempt.verdict is not None:
            kill_at = attempt.verdict.kill_at + later_s
            attempt.verdict = attempt.verdict._replace(kill_at=kill_at)
