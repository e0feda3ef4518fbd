"""kill -9 at every call that changes something: nothing is lost, nothing comes twice, nothing is left.

`make crash` (SPOOLMW_CRASH=full) goes through all points; else an even sample of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.injection import Point, needs_strace, spread
from tests.crash.sweep import FULL, SAMPLE, Lane, Sweep

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
LEAST_POINTS = 500 if IS_FULL else 25
#: Where a kill does not depend on chance: each has points that are reached.
SURE = {"first", "daemon", "recovery", "rebuild", "client"}
#: A wrong daemon must be found out within so many points.
PATIENCE = 30
#: What each wrong daemon must be found guilty of, and by what call its wrong step is seen.
GUILTY_OF = {
    "unlink_before_commit": ("acknowledged and never delivered", "unlink .*/incoming/"),
    "deliver_by_copying": ("delivered twice", "openat .*/results/"),
    "start_before_commit": ("attempt started twice", "sendto "),
}
#: The next calls of the protocol: before them a wrong order does harm.
NEXT = ("syncfs", "pwrite64")


@pytest.mark.timeout(7200 if IS_FULL else 900)
@needs_strace
def test_no_kill_loses_or_doubles_a_task(ground: Path, say: Callable[[str], None]) -> None:
    summary = Sweep(ground, FULL if IS_FULL else SAMPLE, say).run()
    say(f"kill sweep: {summary}")
    assert summary.failures == []
    assert summary.total >= LEAST_POINTS, summary
    assert summary.points.keys() >= SURE, summary


def just_after(found: list[Point], step: str) -> list[Point]:
    """The points that follow a wrong step, from the middle of the daemon's life on; then others."""
    chosen = []
    for number, point in enumerate(found):
        if re.match(step, f"{point.call} {point.text}"):
            chosen += [later for later in found[number:] if later.call in NEXT][:1]
    middle = len(chosen) // 2
    others = spread((point for point in found if point.call in NEXT), PATIENCE)
    return [*chosen[middle:], *chosen[:middle], *others][:PATIENCE]


@needs_strace
@pytest.mark.parametrize("variant", sorted(GUILTY_OF))
def test_a_daemon_that_breaks_the_commit_protocol_is_found_out(
    variant: str, ground: Path, say: Callable[[str], None]
) -> None:
    lane = Lane(ground, 0, ("-m", "tests.crash.wrong_variants", variant))
    complaint, step = GUILTY_OF[variant]
    tried = 0
    for _, job in lane.daemon(just_after(lane.daemon_points(), step)):
        problems = job()
        tried += problems is not None
        guilty = [problem for problem in problems or () if complaint in problem]
        if guilty:
            say(f"{variant}: found out at point {tried}: {guilty[0]}")
            return
    raise AssertionError(f"{variant} was not found out at {tried} points")
