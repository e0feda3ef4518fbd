"""kill -9 at every call of a long run: of its worker, its runner and its daemon, while it saves,
while its checkpoints are handled, while it is taken up again. It comes to the same bytes each time.

`make crash` (SPOOLMW_CRASH=full) goes through all points; else an even sample of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.injection import Point, needs_strace, spread
from tests.crash.longrun import CALL, COMMAND, LongRun, Verdict

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
#: How many points of each family; None: all that there are.
DAEMON, WORKER, RUNNER = (None, None, None) if IS_FULL else (5, 3, 1)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def show(text: str) -> None:
        if IS_FULL:
            with capsys.disabled():
                print(text, flush=True)

    return show


def chosen(found: list[Point], number: int | None) -> list[Point]:
    return found if number is None else spread(found, number)


def swept(points: list[Point], strike: Callable[[Point], Verdict]) -> tuple[int, list[str]]:
    """How many points were reached, and what was wrong after which."""
    reached, failures = 0, []
    for point in points:
        problems = strike(point)
        reached += problems is not None
        if problems:
            failures.append("\n  ".join([f"{point} {point.text}", *problems]))
    return reached, failures


@pytest.mark.timeout(7200 if IS_FULL else 300)
@needs_strace
def test_a_long_run_comes_to_the_same_bytes_wherever_it_is_killed(
    ground: Path, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    run = LongRun(ground)
    total, failures = 0, []
    families = [
        ("daemon", run.daemon_points(), DAEMON, run.daemon),
        *(
            (
                f"{who} of {name}",
                run.process_points(who, name),
                number,
                lambda point, who=who, name=name: run.process(who, name, point),
            )
            for who, number in (("worker", WORKER), ("runner", RUNNER))
            for name in (CALL, COMMAND)
        ),
    ]
    for label, found, number, strike in families:
        assert any("checkpoints/" in point.text for point in found) or "runner" in label, label
        reached, wrong = swept(chosen(found, number), strike)
        total += reached
        failures += [f"{label} {each}" for each in wrong]
        say(f"{label}: {reached} of {len(found)} points, {len(wrong)} failures")
    say(f"long run: {total} points, {len(failures)} failures, {time.monotonic() - began:.0f} s")
    assert failures == []
    assert total >= (200 if IS_FULL else 10)
