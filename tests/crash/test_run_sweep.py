"""kill -9 at every call of a long run: of its worker, its runner and its daemon, while it saves,
while its checkpoints are handled, while it is taken up again. It comes to the same bytes each time.

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
from tests.crash.longrun import CALL, COMMAND, LongRun, Verdict

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
#: How many points of each family (None: all that there are), and machines that work on them.
DAEMON, WORKER, RUNNER = (None, None, None) if IS_FULL else (4, 3, 1)
LANES = 2 if IS_FULL else 1
LEAST_POINTS = 200 if IS_FULL else 10

Say = Callable[[str], None]
Strike = Callable[[LongRun, Point], Verdict]


def families(run: LongRun) -> Iterator[tuple[str, list[Point], int | None, Strike]]:
    """Each with its points, how many of them are wanted, and how to be killed there."""
    yield "daemon", run.daemon_points(), DAEMON, LongRun.daemon
    for who, number in (("worker", WORKER), ("runner", RUNNER)):
        for name in (CALL, COMMAND):
            found = run.process_points(who, name)
            yield f"{who} of {name}", found, number, partial(_process, who, name)


def _process(who: str, name: str, run: LongRun, point: Point) -> Verdict:
    return run.process(who, name, point)


def swept(
    run: LongRun, label: str, points: list[Point], strike: Strike, say: Say
) -> tuple[int, list[str]]:
    """How many points were reached, and what was wrong after which."""
    reached, failures = 0, []
    for point in points:
        try:
            problems = strike(run, point)
        except AssertionError as error:
            problems = [str(error)]
        reached += problems is not None
        if problems:
            failures.append("\n  ".join([f"{label} {point} {point.text}", *problems]))
            say(failures[-1])
    return reached, failures


@pytest.mark.timeout(7200 if IS_FULL else 900)
@needs_strace
def test_a_long_run_comes_to_the_same_bytes_wherever_it_is_killed(
    ground: Path, say: Say
) -> None:
    began = time.monotonic()
    runs = [LongRun(ground / f"lane{number}") for number in range(LANES)]
    total, failures = 0, []
    with ThreadPoolExecutor(LANES) as pool:
        for label, found, number, strike in families(runs[0]):
            is_seen = any("checkpoints/" in point.text for point in found)
            assert is_seen or label.startswith("runner"), f"{label} does not touch checkpoints"
            wanted = found if number is None else spread(found, number)
            for reached, wrong in pool.map(
                lambda lane, label=label, wanted=wanted, strike=strike: swept(
                    runs[lane], label, wanted[lane::LANES], strike, say
                ),
                range(LANES),
            ):
                total += reached
                failures += wrong
            passed = time.monotonic() - began
            say(f"{label}: {len(found)} points; in all {total} reached, {passed:.0f} s")
    say(f"long run: {total} points, {len(failures)} failures, {passed:.0f} s")
    assert failures == []
    assert total >= LEAST_POINTS
