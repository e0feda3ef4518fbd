"""What goes by itself with time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.config import Retention
from spoolmw.daemon.clock import boot_s
from spoolmw.spooldir import donelog
from tests.support.bench import CONFIG, Bench
from tests.unit.daemon.test_misfortunes import run_one

HOUR_S = 3600.0


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donelog, "_WORTH_BYTES", 1)


def keep(bench: Bench, *, logs_s: float | None) -> None:
    retention = Retention(story_s=None, logs_s=logs_s)
    bench.parts.housekeeping.config = replace(CONFIG, retention=retention)
    bench.parts.housekeeping._next = 0.0
    bench.parts.housekeeping.run(boot_s() + HOUR_S)


@pytest.mark.usefixtures("at_once")
def test_the_log_of_deliveries_forgets_old_tasks_that_have_no_story_any_more(
    bench: Bench,
) -> None:
    old, new = run_one(bench, "a.sh"), ""
    bench.ask("prune", story_s=0)
    new = run_one(bench, "b.sh")
    keep(bench, logs_s=HOUR_S)
    assert set(donelog.read(bench.layout.done_log)) == {old, new}, "it is not old"
    keep(bench, logs_s=None)
    assert set(donelog.read(bench.layout.done_log)) == {old, new}, "it is kept for ever"
    keep(bench, logs_s=0.0)
    assert set(donelog.read(bench.layout.done_log)) == {new}, "the other has a story"
    third = run_one(bench, "c.sh")
    bench.close()
    bench.start()
    assert set(donelog.read(bench.layout.done_log)) == {new, third}
