"""A prepared spool, and how the tests drop things into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoolmw.spooldir.drops import Drops
from spoolmw.spooldir.layout import Layout, prepare


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A fresh spool."""
    return prepare(tmp_path / "spool")


class Clock:
    """Time is a number that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drops(layout: Layout, clock: Clock) -> Drops:
    """What the daemon takes drops with: files settle for one second."""
    return Drops(layout, settle_s=1.0, max_task_bytes=10_000, clock=clock)


@pytest.fixture(params=["daemon's user", "another user"])
def owner(request: pytest.FixtureRequest) -> int:
    """Who wrote the file: the daemon's user, or (where the tests run as root) another one."""
    if request.param == "daemon's user":
        return os.geteuid()
    if os.geteuid() != 0:
        pytest.skip("files of another user can be made by root only")
    return 12345
