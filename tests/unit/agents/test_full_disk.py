"""A full disk under the local agent: nothing is blamed on the task, and work goes on by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.events import Lost
from tests.support.smalldisk import fill, small_disk
from tests.unit.agents.conftest import Local


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder):
        yield folder


def test_attempts_are_lost_without_counting_and_run_again_when_there_is_room(
    small: Path,
) -> None:
    local = Local(small / "spool")
    warm = local.call(abs, 1)
    assert local.run(warm).cause is Cause.FINISHED
    works = [
        local.call(abs, 2),
        local.command("sh", "-c", "echo x"),
        local.call(os._exit, 3),  # its worker dies, and there is no room for another
        local.call(abs, 4),
    ]
    ballast = fill(small)
    for work in works:
        end = local.run(work)
        assert isinstance(end, Lost), end
        assert (end.cause, end.blame, end.counts) == (Cause.LAUNCH, Blame.AGENT, False)
    ballast.unlink()
    for work in works[:2]:
        again = local.again(work)
        assert local.run(again).cause is Cause.FINISHED
    local.agent.close(0.0)
