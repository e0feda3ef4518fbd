"""kill -9 at every call that changes something: nothing is lost, nothing comes twice, nothing is left.

`make crash` (SPOOLMW_CRASH=full) goes through all points; else an even sample of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.injection import Point, needs_strace, spread
from tests.crash.sweep import FULL, SAMPLE, Lane, Sweep

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
LEAST_POINTS = 500 if IS_FULL else 30
#: A wrong daemon must be found out within so many points.
PATIENCE = 40
#: What each wrong daemon must be found guilty of.
GUILTY_OF = {
    "unlink_before_commit": "acknowledged and never delivered",
    "deliver_by_copying": "delivered twice",
    "start_before_commit": "attempt started twice",
}
#: Calls between which the protocol's steps lie: there a wrong order shows soonest.
BORDERS = ("syncfs", "fdatasync", "renameat2")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows progress in the full sweep, which takes a while."""

    def show(text: str) -> None:
        if IS_FULL:
            with capsys.disabled():
                print(text, flush=True)

    return show


@needs_strace
def test_no_kill_loses_or_doubles_a_task(ground: Path, say: Callable[[str], None]) -> None:
    summary = Sweep(ground, FULL if IS_FULL else SAMPLE, say).run()
    say(f"kill sweep: {summary}")
    assert summary.failures == []
    assert summary.total >= LEAST_POINTS, summary


def jumping(found: list[Point]) -> list[Point]:
    """The same points, each far from the one before it."""
    number = len(found)
    step = next(n for n in (17, 19, 23) if number % n)
    return [found[i * step % number] for i in range(1, number + 1)]


@needs_strace
@pytest.mark.parametrize("variant", sorted(GUILTY_OF))
def test_a_daemon_that_breaks_the_commit_protocol_is_found_out(
    variant: str, ground: Path, say: Callable[[str], None]
) -> None:
    lane = Lane(ground, 0, ("-m", "tests.crash.wrong_variants", variant))
    found = [point for point in lane.daemon_points() if point.call in BORDERS]
    tried = 0
    for _, job in lane.daemon(jumping(spread(found, PATIENCE))):
        problems = job()
        tried += problems is not None
        guilty = [problem for problem in problems or () if GUILTY_OF[variant] in problem]
        if guilty:
            say(f"{variant}: found out at point {tried}: {guilty[0]}")
            return
    raise AssertionError(f"{variant} was not found out at {tried} points")
