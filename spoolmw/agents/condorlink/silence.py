"""Which running jobs are not heard of any more: their hosts froze. No I/O.

HTCondor notices a host that died when the job's lease is over. One that froze it does not notice
for long: its kernel goes on answering, and the lease is renewed (seen with 23.9). What stops is the
word of the job's starter: its age in the job's ad grows no more.

Rule: only what was watched counts. Who comes anew, or whose schedd was away, begins to count anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from spoolmw.agents.condorlink.eventnews import JobId
from spoolmw.agents.condorlink.reconcile import Seen, Status


class _Word(NamedTuple):
    """The last that a starter said, and since when it is the last."""

    sign: int
    run: float  #: when that run of the job began
    since: float


class Silence:
    """Watches the jobs of one queue. `longest_s` without a sign is too long."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._last: dict[JobId, _Word] = {}

    def broken(self, queue: Iterable[Seen], now: float) -> list[Seen]:
        """Those of the queue, as it is `now` (a clock that stands still with us), that are silent."""
        last, self._last = self._last, {}
        found: list[Seen] = []
        for each in queue:
            # While files travel a starter is silent, however well it is.
            if each.status is not Status.RUNNING or each.sign < 0 or each.is_moving:
                continue
            before = last.get(each.job)
            if before is None or (before.sign, before.run) != (each.sign, each.started_at):
                before = _Word(each.sign, each.started_at, now)
            self._last[each.job] = before
            if now - before.since > self._longest_s:
                found.append(each)
        return found
