"""Calls that fail: a refused sync ends the daemon, want of room does not; nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.consumer import Consumer
from tests.crash.injection import Point, fail, needs_strace, spread
from tests.crash.sweep import Lane

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
#: The status of a daemon whose journal or disk failed while it ran.
EXIT_FAILED = 3
#: Calls of the reactor that need room, and those that only change something.
GROWING = ("pwrite64", "write", "rename", "renameat2", "linkat", "mkdir")
WRITING = (*GROWING, "unlink", "ftruncate")
POINTS_EACH = 40 if IS_FULL else 1


@pytest.fixture
def lane(ground: Path) -> Lane:
    return Lane(ground, 0)


def wrong_after(lane: Lane, point: Point, error: str) -> tuple[int, list[str]]:
    """The status of a daemon one of whose calls fails, and what is wrong after its successor ended all."""
    lane.machine.reset(lane.early)
    with Consumer(lane.machine.home, lane.seed()) as consumer:
        status = lane.machine.run(fail(point, error), late=True)
        return status, lane.machine.finish(consumer, twice=False)


@needs_strace
@pytest.mark.parametrize("call", ["syncfs", "fdatasync"])
def test_a_failed_sync_ends_the_daemon_and_the_next_start_loses_nothing(
    lane: Lane, call: str
) -> None:
    found = [point for point in lane.daemon_points() if point.call == call]
    for point in spread(found, 2 * POINTS_EACH):
        status, problems = wrong_after(lane, point, "EIO")
        assert status in (0, EXIT_FAILED), point  # 0: it was not reached
        assert problems == [], point
    assert EXIT_FAILED in [wrong_after(lane, point, "EIO")[0] for point in found[2:4]]


def points_of_a_running_daemon(lane: Lane) -> list[Point]:
    """What it calls after it has begun to serve."""
    found = lane.daemon_points()
    [*_, serves] = (number for number, point in enumerate(found) if point.call == "bind")
    return found[serves + 1 :]


@needs_strace
def test_a_moment_without_room_stops_nothing_and_loses_nothing(lane: Lane) -> None:
    found = points_of_a_running_daemon(lane)
    for call in GROWING:
        for point in spread((p for p in found if p.call == call), POINTS_EACH):
            status, problems = wrong_after(lane, point, "ENOSPC")
            assert (status, problems) == (0, []), (
                f"{point} {point.text}: {lane.machine.log_tail()}"
            )


@needs_strace
def test_whatever_an_io_error_does_to_the_daemon_nothing_is_lost_and_its_end_is_told(
    lane: Lane,
) -> None:
    found = points_of_a_running_daemon(lane)
    for point in spread(
        (p for p in found if p.call in WRITING), len(WRITING) * POINTS_EACH // 2
    ):
        status, problems = wrong_after(lane, point, "EIO")
        assert problems == [], f"{point} {point.text}"
        assert status in (0, EXIT_FAILED), f"{point} {point.text}: {lane.machine.log_tail()}"
    taking_an_input = next(point for point in found if point.call == "linkat")
    assert wrong_after(lane, taking_an_input, "EIO") == (EXIT_FAILED, [])
    said = lane.machine.log.read_text(encoding="utf-8")
    assert "spoolmwd: the spool cannot be written: [Errno 5] Input/output error" in said
    assert "To do: look at the disk (dmesg)" in said
    assert "\nTraceback" not in said
