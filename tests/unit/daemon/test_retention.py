"""What goes by itself with time."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from spoolmw.config import Retention
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.rebuild import rebuild
from spoolmw.daemon.resultnames import names_of
from spoolmw.model.ids import TaskId
from spoolmw.runner import results
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


def fail_one(bench: Bench) -> None:
    """Let the newest launch fail."""
    bench.agent.finish(
        bench.agent.launched[-1].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: not len(bench.parts.table))
    bench.ticks(3)


def failed_twice(bench: Bench, name: str) -> str:
    """Drop a task that fails, also when it is retried; its id."""
    before = len(bench.agent.launched)
    bench.drop(name)
    bench.until(lambda: len(bench.agent.launched) == before + 1)
    task_id = bench.only_id()
    fail_one(bench)
    bench.ask("retry", ids=[task_id])
    bench.until(lambda: len(bench.agent.launched) == before + 2)
    fail_one(bench)
    return task_id


def left(bench: Bench) -> set[str]:
    return {each.name for each in bench.layout.results.iterdir()}


def test_with_the_result_of_a_retried_task_those_before_the_retry_go(bench: Bench) -> None:
    task_id = failed_twice(bench, "a.sh")
    bench.ask("retry", ids=[task_id])
    bench.until(lambda: len(bench.agent.launched) == 3)
    fail_one(bench)
    names = ("a.sh", f"a.sh.{task_id}", f"a.sh.{task_id}.3")
    for name in names:
        (bench.layout.results / f"{name}.files").mkdir(exist_ok=True)
    assert {f"{name}.result" for name in names} < left(bench)
    bench.ask("prune", results_s=0, story_s=0)
    assert left(bench) == set()


def test_a_file_that_is_not_the_tasks_stays_where_its_earlier_result_was(bench: Bench) -> None:
    task_id = failed_twice(bench, "a.sh")
    others = bench.layout.results / "a.sh.result"
    others.unlink()
    other = failed_twice(bench, "a.sh")
    (bench.layout.results / f"a.sh.{task_id}.1.result").write_text("notes of mine\n")
    (bench.layout.results / f"a.sh.{task_id}.2.result").symlink_to(others)
    bench.parts.journal.forget([TaskId(other)])
    bench.ask("prune", results_s=0, story_s=0)
    assert left(bench) == {
        "a.sh.result",
        f"a.sh.{other}.result",
        f"a.sh.{task_id}.1.result",
        f"a.sh.{task_id}.2.result",
    }


def test_the_earlier_results_go_also_when_the_journal_was_rebuilt_meanwhile(
    bench: Bench,
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    task_id = bench.only_id()
    fail_one(bench)
    bench.ask("retry", ids=[task_id])
    bench.until(lambda: len(bench.agent.launched) == 2)
    bench.agent.finish(bench.agent.launched[1].attempt)
    bench.until(lambda: not len(bench.parts.table))
    bench.close()
    rebuild(bench.layout)
    bench.start()
    assert len(left(bench)) == 2
    bench.ask("prune", results_s=0, story_s=0)
    assert left(bench) == set()


@pytest.mark.parametrize("number", ["9" * 100, "\u0663", "x"])
def test_a_number_in_a_dropped_name_makes_no_work(bench: Bench, number: str) -> None:
    task_id = run_one(bench, "a.sh")
    task = bench.parts.journal.get(TaskId(task_id))
    assert task is not None
    named = replace(task, dropped="a", result_name=f"a.{task_id}.{number}")
    assert named.result_name in set(islice(names_of(named), 2000))
    assert len(list(islice(names_of(named), 2000))) < 1100
    plain = replace(task, dropped="20261121", result_name="20261121")
    assert len(list(names_of(plain))) < 6
