"""The doorbell: rings for what appears, and costs nothing but a missed hint when it cannot."""

from __future__ import annotations

import errno
import functools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.watch import Doorbell
from tests.support.waiting import wait_until


class Listener:
    """A doorbell on `incoming/`, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.rang = threading.Event()
        self.arrived: list[str] = []
        self.bell = Doorbell(
            folder, recursive=True, on_ring=self.rang.set, on_arrival=self.arrived.append
        )


@pytest.fixture
def listener(layout: Layout) -> Iterator[Listener]:
    made = Listener(layout.incoming)
    yield made
    made.bell.close()


def move_in(layout: Layout, name: str) -> None:
    half = layout.tmp / "half"
    half.write_text("")
    os.rename(half, layout.incoming / name)


def test_it_rings_for_a_file_that_is_moved_in_and_names_it(
    layout: Layout, listener: Listener
) -> None:
    assert listener.bell.arm()
    move_in(layout, "a.task")
    assert listener.rang.wait(5)
    assert listener.arrived == ["a.task"]


def test_it_rings_for_a_file_written_in_place_but_does_not_call_it_complete(
    layout: Layout, listener: Listener
) -> None:
    listener.bell.arm()
    (layout.incoming / "job.sh").write_text("#!/bin/sh\n")
    assert listener.rang.wait(5)
    assert listener.arrived == []


def test_it_hears_boxes_also_new_ones(layout: Layout, listener: Listener) -> None:
    (layout.incoming / "old").mkdir()
    listener.bell.arm()
    move_in(layout, "old/1.task")
    wait_until(lambda: listener.arrived == ["old/1.task"])
    listener.rang.clear()
    (layout.incoming / "new").mkdir()
    assert listener.rang.wait(5)


def test_a_file_that_leaves_does_not_delay_the_next_one(
    layout: Layout, listener: Listener
) -> None:
    """watchdog would hold events back for half a second to see where it went."""
    listener.bell.arm()
    took = []
    for number in range(5):  # a busy machine may hold up one or the other
        first, second = f"{number}a.task", f"{number}b.task"
        move_in(layout, first)
        wait_until(functools.partial(listener.arrived.__contains__, first))
        os.rename(layout.incoming / first, layout.stage / "a")
        began = time.monotonic()
        move_in(layout, second)
        wait_until(functools.partial(listener.arrived.__contains__, second))
        took.append(time.monotonic() - began)
    assert min(took) < 0.4


def test_disarmed_it_is_silent_and_can_be_armed_again(
    layout: Layout, listener: Listener
) -> None:
    for number in range(5):
        armed = listener.bell.arm() and listener.bell.is_armed
        assert armed
        move_in(layout, f"{number}.task")
        wait_until(functools.partial(listener.arrived.__contains__, f"{number}.task"))
        listener.bell.disarm()
        armed = listener.bell.is_armed
        assert not armed
        move_in(layout, f"silent{number}.task")
    assert not [name for name in listener.arrived if name.startswith("silent")]


def test_a_missing_folder_is_only_a_missing_hint(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path / "none", on_ring=lambda: None)
    assert not bell.arm()
    bell.disarm()
    bell.close()


def test_closing_leaves_no_thread(layout: Layout) -> None:
    before = threading.active_count()
    bell = Listener(layout.incoming).bell
    bell.arm()
    assert threading.active_count() > before
    bell.close()
    bell.close()
    wait_until(lambda: threading.active_count() <= before)


def test_an_error_at_its_end_does_not_stop_who_closes_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    bell = Listener(layout.incoming).bell
    bell.arm()
    observer = bell._observer
    assert observer is not None
    with monkeypatch.context() as patched:
        patched.setattr(observer, "stop", refuse)
        bell.close()
    observer.stop()
    wait_until(lambda: threading.active_count() <= before)


def refuse() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_after_a_fork_the_child_can_arm_its_own(layout: Layout, listener: Listener) -> None:
    listener.bell.arm()
    child = os.fork()
    if child == 0:
        assert not listener.bell.is_armed
        listener.rang.clear()
        ok = listener.bell.arm()
        move_in(layout, "child.task")
        os._exit(0 if ok and listener.rang.wait(5) else 1)
    assert os.waitpid(child, 0)[1] == 0
