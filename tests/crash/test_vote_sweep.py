"""kill -9 at every call of a daemon that holds votes: while replicas are placed and report, while
their results are compared, while the verdicts are delivered. No result is lost or comes twice,
and no host is marked twice for one.

`make crash` (SPOOLMW_CRASH=full) goes through all points; else an even sample of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.crash.injection import Point, needs_strace, spread
from tests.crash.voterun import Verdict, VoteRun

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
#: How many points of each family (None: all that there are), and machines that work on them.
FRESH, COMPARING, REBUILT, JUDGE = (None, None, 40, 4) if IS_FULL else (4, 3, 2, 1)
LANES = 2 if IS_FULL else 1
LEAST_POINTS = 200 if IS_FULL else 8

Say = Callable[[str], None]
Job = tuple[str, Callable[[VoteRun], Verdict]]


def jobs(run: VoteRun) -> Iterator[Job]:
    """Every point of every family, and how to be killed there."""
    fresh, comparing = run.points(run.fresh), run.points(run.comparing)
    yield from _struck("votes", fresh, FRESH, lambda one, point: one.daemon(one.fresh, point))
    yield from _struck(
        "comparing", comparing, COMPARING, lambda one, point: one.daemon(one.comparing, point)
    )
    yield from _struck(
        "rebuild", comparing, REBUILT, lambda one, point: one.rebuilt(one.comparing, point)
    )
    for number in range(JUDGE):
        yield f"judge #{number}", VoteRun.judge


def _struck(
    family: str,
    found: list[Point],
    number: int | None,
    strike: Callable[[VoteRun, Point], Verdict],
) -> Iterator[Job]:
    for point in found if number is None else spread(found, number):
        yield f"{family} {point} {point.text}", partial(_at, strike, point)


def _at(strike: Callable[[VoteRun, Point], Verdict], point: Point, run: VoteRun) -> Verdict:
    return strike(run, point)


def swept(run: VoteRun, todo: list[Job], say: Say) -> tuple[int, list[str]]:
    """How many points were reached, and what was wrong after which."""
    reached, failures = 0, []
    for label, job in todo:
        try:
            problems = job(run)
        except AssertionError as error:
            problems = [str(error)]
        reached += problems is not None
        if problems:
            failures.append("\n  ".join([label, *problems]))
            say(failures[-1])
    return reached, failures


@pytest.mark.timeout(7200 if IS_FULL else 900)
@needs_strace
def test_no_kill_loses_or_doubles_a_vote(ground: Path, say: Say) -> None:
    began = time.monotonic()
    runs = [VoteRun(ground / f"lane{number}") for number in range(LANES)]
    todo = list(jobs(runs[0]))
    total, failures = 0, []
    with ThreadPoolExecutor(LANES) as pool:
        shares = [(run, todo[number::LANES]) for number, run in enumerate(runs)]
        for reached, wrong in pool.map(lambda share: swept(*share, say), shares):
            total += reached
            failures += wrong
    say(f"votes: {total} points, {len(failures)} failures, {time.monotonic() - began:.0f} s")
    assert failures == []
    assert total >= LEAST_POINTS
