"""When `incoming/` is scanned: after a ring, often while files flow, else now and then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.daemon import wakeup
from spoolmw.daemon.wakeup import Wakeup
from spoolmw.spooldir.watch import Doorbell

SCAN_S = 60.0
RESTS, LATER = 10.0, 20.0  #: clock: since when it rests, and when a file comes


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Doorbell]:
    bell = Doorbell(tmp_path, on_ring=lambda: None)
    yield bell
    bell.close()


@pytest.fixture
def resting(bell: Doorbell) -> Wakeup:
    """A schedule that rests: the watch is on, and the next scan is far away."""
    schedule = Wakeup(bell, SCAN_S)
    schedule.scanned(RESTS, found=0, more=None)
    assert bell.is_armed
    schedule.scanned(RESTS, found=0, more=None)
    assert schedule.next_scan == RESTS + SCAN_S
    return schedule


def test_a_single_file_leaves_the_watch_on_and_is_followed_by_one_more_scan(
    resting: Wakeup, bell: Doorbell
) -> None:
    resting.ring()
    assert resting.scan_due(LATER)
    resting.scanned(LATER, found=1, more=None)
    assert bell.is_armed
    assert not resting.quiet
    assert resting.scan_due(LATER)
    resting.scanned(LATER, found=0, more=None)
    assert resting.quiet
    assert not resting.scan_due(LATER)


def test_files_that_come_slowly_never_switch_the_watch_off(
    resting: Wakeup, bell: Doorbell
) -> None:
    for number in range(5 * wakeup.FLOWING):
        resting.scanned(LATER + number * wakeup.FLOWING_S, found=1, more=None)
        assert bell.is_armed


def test_many_files_at_once_are_looked_for_until_none_has_come_for_a_while(
    resting: Wakeup, bell: Doorbell
) -> None:
    for _ in range(wakeup.FLOWING):
        resting.scanned(LATER, found=1, more=None)
    assert not bell.is_armed
    resting.scanned(LATER, found=0, more=None)
    assert resting.next_scan == LATER + wakeup.POLL_S
    resting.scanned(LATER + wakeup.REST_AFTER_S, found=0, more=None)
    assert bell.is_armed
