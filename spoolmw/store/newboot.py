"""Brings what counts on the boot-time clock to the clock of another boot: what remained goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from spoolmw.model.replica import Ballot, Replica
from spoolmw.model.task import Task

#: The statements that do the same to the rows.
SHIFTS: Final = ("shift_backoffs", "shift_deadlines", "shift_judgings")


def on_new_clock(task: Task, then: float, now: float) -> Task:
    """The task whose times counted on a clock that read `then` when it was last written."""
    if not task.not_before and task.ballot is None:
        return task
    if task.ballot is not None:
        task = replace(task, ballot=_ballot(task.ballot, then, now))
    return replace(task, not_before=_shifted(task.not_before, then, now))


def _ballot(ballot: Ballot, then: float, now: float) -> Ballot:
    return replace(
        ballot,
        judge_after=_shifted(ballot.judge_after, then, now),
        replicas=tuple(_replica(each, then, now) for each in ballot.replicas),
    )


def _replica(replica: Replica, then: float, now: float) -> Replica:
    return replace(
        replica,
        not_before=_shifted(replica.not_before, then, now),
        until=_shifted(replica.until, then, now),
    )


def _shifted(moment: float, then: float, now: float) -> float:
    return max(0.0, moment - then) + now if moment > 0 else moment


def boot_id() -> str:
    """Which boot of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
