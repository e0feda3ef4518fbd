"""The reactor with the fake agent, tick by tick: what is committed, what is done, what comes late."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import Peer, Request
from spoolmw.daemon.rebuild import rebuild
from spoolmw.errors import BadSpool, DiskFull, SpoolmwError
from spoolmw.format.resultfile import read_trailer
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from tests.support.bench import Bench
from tests.support.waiting import wait_until


def test_a_dropped_file_is_launched_once_and_delivered_once(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    [launch] = bench.agent.launched
    bench.agent.finish(launch.attempt)
    bench.until(lambda: not len(bench.parts.table))
    assert bench.trailer("a.sh")["state"] == "done"
    assert len(bench.agent.launched) == 1
    assert not list(bench.layout.stage.iterdir())


def test_a_name_is_free_again_as_soon_as_its_result_was_taken(bench: Bench) -> None:
    """Who sees a result may take it and drop the next file before the delivery is on record."""
    bench.drop("job.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("job.sh"))
    (bench.layout.results / "job.sh.result").unlink()
    bench.drop("job.sh")
    bench.parts.reactor.wakeup.ring()
    bench.until(lambda: len(bench.agent.launched) == 2)
    assert [task.result_name for task in bench.parts.table] == ["job.sh"]


def test_a_second_report_of_the_same_attempt_changes_nothing(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    [launch] = bench.agent.launched
    bench.agent.finish(launch.attempt)
    bench.until(lambda: bench.delivered("a.sh"))
    told = (bench.layout.results / "a.sh.result").read_bytes()
    bench.agent.finish(launch.attempt)
    bench.ticks()
    assert (bench.layout.results / "a.sh.result").read_bytes() == told
    assert len(list(bench.layout.results.iterdir())) == 1


def test_no_more_attempts_run_than_there_are_slots(bench: Bench) -> None:
    for number in range(5):
        bench.drop(f"{number}.sh")
    bench.until(lambda: len(bench.parts.table) == 5)
    bench.ticks()
    assert len(bench.agent.launched) == 2
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: len(bench.agent.launched) == 3)


def test_a_lost_attempt_is_launched_again_and_costs_no_retry(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.crash(bench.agent.launched[0].attempt)
    bench.until(lambda: len(bench.agent.launched) == 2)
    [task] = bench.parts.table
    assert (task.failures, task.losses) == (0, 1)
    assert bench.agent.launched[1].attempt.attempt == 2
    assert bench.agent.launched[1].token != bench.agent.launched[0].token


def test_a_task_that_kills_its_worker_three_times_is_failed_with_that_said(
    bench: Bench,
) -> None:
    bench.drop("a.sh")
    for number in range(3):
        bench.until(lambda n=number: len(bench.agent.launched) == n + 1)
        bench.agent.crash(bench.agent.launched[-1].attempt)
    bench.until(lambda: bench.delivered("a.sh"))
    trailer = bench.trailer("a.sh")
    assert trailer["state"] == "failed"
    assert "killed its worker 3 times" in str(trailer["message"])


def test_that_an_agent_is_lost_and_back_is_logged_once_each(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for why in ("the cable is out", "the cable is out", "paused after 5 failures"):
            bench.agent.unplug(why)
            bench.ticks()
        bench.agent.plug()
        bench.ticks()
    told = [each.getMessage() for each in caplog.records]
    lost, back = [each for each in told if each.startswith("agent ")]
    assert lost == 'agent lost agent=lab why="the cable is out"'
    assert re.fullmatch(r"agent back agent=lab after_s=\d+\.\d+", back)


def test_an_unplugged_agent_gets_nothing_until_it_is_back(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.agent.unplug("the cable is out")
    bench.ticks()
    assert bench.parts.table.states[TaskState.QUEUED] == 1
    answer = bench.ask("why", id=bench.only_id())
    assert isinstance(answer, dict)
    assert "the cable is out" in answer["reason"]
    bench.agent.plug()
    bench.until(lambda: len(bench.agent.launched) == 2)


def test_a_report_whose_staged_file_is_too_short_is_a_loss(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    attempt = bench.agent.launched[0].attempt
    bench.agent.finish(attempt)
    (bench.layout.stage / str(attempt)).write_bytes(b"SPOOL")
    bench.until(lambda: len(bench.agent.launched) == 2)
    assert not bench.delivered("a.sh")


def test_while_the_disk_is_full_nothing_is_published_and_nothing_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    journal, commit = bench.parts.journal, bench.parts.journal.commit

    def no_room(*_args: object, **_kwargs: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(journal, "commit", no_room)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(bench.parts.reactor.is_stuck)
    bench.drop("b.sh")
    bench.ticks()
    assert not bench.delivered("a.sh")
    assert (bench.layout.incoming / "b.sh").exists()
    monkeypatch.setattr(journal, "commit", commit)
    bench.until(lambda: bench.delivered("a.sh"))
    bench.until(lambda: len(bench.agent.launched) == 2)


def test_a_cancelled_running_task_is_stopped_and_delivered_as_cancelled(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.ask("cancel", ids=[bench.only_id()])
    bench.until(lambda: bench.delivered("a.sh"))
    assert bench.trailer("a.sh")["state"] == "cancelled"
    assert bench.agent.stopped == [bench.agent.launched[0].attempt]


def test_a_failed_task_that_is_retried_gets_a_result_of_its_own(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    task_id = bench.only_id()
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: bench.delivered("a.sh"))
    bench.ticks()
    bench.ask("retry", ids=[task_id])
    bench.until(lambda: len(bench.agent.launched) == 2)
    bench.agent.finish(bench.agent.launched[1].attempt)
    bench.until(lambda: bench.delivered(f"a.sh.{task_id}"))
    assert bench.trailer("a.sh")["state"] == "failed"
    assert bench.trailer(f"a.sh.{task_id}")["state"] == "done"


def test_a_held_task_waits_until_it_is_released(bench: Bench) -> None:
    bench.ask("pause", agent=None)
    bench.drop("a.sh")
    bench.until(lambda: len(bench.parts.table) == 1)
    bench.ask("hold", ids=[bench.only_id()])
    bench.ask("resume", agent=None)
    bench.ticks()
    assert not bench.agent.launched
    bench.ask("release", ids=[bench.only_id()])
    bench.until(lambda: bench.agent.launched)


KEYED = "#!/bin/sh\n#SPOOLMW key = fold/1\ntrue\n"


def test_a_second_drop_with_the_same_key_waits_and_gets_a_copy(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("b.sh"))
    assert len(bench.agent.launched) == 1
    assert bench.trailer("b.sh")["copy_of"] == bench.trailer("a.sh")["id"]
    bench.drop("c.sh", KEYED)
    bench.until(lambda: bench.delivered("c.sh"))
    assert len(bench.agent.launched) == 1


def test_a_twin_gets_its_copy_also_when_the_first_result_is_taken_at_once(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.drop("b.sh", KEYED)
    bench.drop("c.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 2)
    bench.agent.finish(bench.agent.launched[0].attempt)
    taken = set()

    def all_taken() -> bool:
        for result in bench.layout.results.glob("*.result"):
            taken.add((result.name, read_trailer(result)["state"]))
            result.unlink()
        return len(taken) == 3

    bench.until(all_taken)
    assert {state for _, state in taken} == {"done"}
    assert len(bench.agent.launched) == 1


def test_of_several_twins_of_a_failed_task_only_one_runs(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    bench.drop("c.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 2)
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: len(bench.agent.launched) == 2)
    bench.ticks()
    assert bench.parts.table.states[TaskState.WAITING] == 1
    bench.agent.finish(bench.agent.launched[1].attempt)
    bench.until(lambda: bench.delivered("b.sh") and bench.delivered("c.sh"))
    assert len(bench.agent.launched) == 2


def test_a_held_twin_gets_its_copy_too(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 1)
    [twin] = [task.id for task in bench.parts.table if task.state is TaskState.WAITING]
    bench.ask("hold", ids=[twin])
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a.sh"))
    bench.ask("release", ids=[twin])
    bench.until(lambda: bench.delivered("b.sh"))


def test_a_key_whose_result_was_taken_away_fails_and_says_so(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a.sh"))
    (bench.layout.results / "a.sh.result").unlink()
    bench.drop("b.sh", KEYED)
    bench.until(lambda: bench.delivered("b.sh"))
    trailer = bench.trailer("b.sh")
    assert trailer["state"] == "failed"
    assert "a.sh" in str(trailer["message"])


def test_a_key_whose_task_failed_runs_anew(bench: Bench) -> None:
    bench.drop("a.sh", KEYED)
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(
        bench.agent.launched[0].attempt, results.failed("exit", "exit 1", exit_code=1)
    )
    bench.until(lambda: bench.delivered("a.sh"))
    bench.drop("b.sh", KEYED)
    bench.until(lambda: len(bench.agent.launched) == 2)


def test_a_stranger_may_look_but_not_change(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    stranger = Peer(1, 54321, 54321)
    asked: dict[str, dict[str, object]] = {"status": {}, "cancel": {"ids": [bench.only_id()]}}
    for verb, args in asked.items():
        bench.parts.inbox.put(Request(verb, args, stranger, bench.answers.append))
    bench.until(lambda: len(bench.answers) == 2)
    status, refused = sorted(bench.answers, key=lambda answer: isinstance(answer, SpoolmwError))
    assert isinstance(status, dict)
    assert isinstance(refused, SpoolmwError)
    assert "not allowed" in str(refused)


def test_a_restart_launches_again_what_was_running(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.close()
    bench.start()
    bench.until(lambda: bench.agent.launched)
    assert bench.agent.launched[0].attempt.attempt == 2
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a.sh"))


def test_a_journal_from_a_backup_is_refused_and_rebuild_runs_nothing_twice(
    bench: Bench, tmp_path: Path
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    bench.close()
    backup = tmp_path / "backup.db"
    shutil.copy(bench.layout.journal, backup)
    bench.start()
    bench.until(lambda: bench.agent.launched)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a.sh") and not len(bench.parts.table))
    bench.close()
    shutil.copy(backup, bench.layout.journal)
    with pytest.raises(BadSpool, match="older than the spool"):
        bench.start()
    bench.parts.close()
    rebuild(bench.layout)
    bench.start()
    bench.ticks()
    assert not bench.agent.launched
    assert bench.trailer("a.sh")["state"] == "done"


def test_what_a_dead_client_left_in_tmp_goes_after_a_day_and_nothing_else_does(
    bench: Bench,
) -> None:
    old, young = bench.layout.tmp / "dead.task.part", bench.layout.tmp / "alive.task.part"
    for path in (old, young):
        path.write_text("half", encoding="utf-8")
    os.utime(old, (0, 0))
    os.utime(bench.layout.scratch, (0, 0))
    bench.parts.housekeeping.run(boot_s())
    assert not old.exists()
    assert young.exists()
    assert bench.layout.scratch.exists()


def test_a_running_task_is_left_alone_by_a_cancel_of_what_waits(bench: Bench) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    answer = bench.ask("cancel", ids=[bench.only_id()], waiting_only=True)
    assert isinstance(answer, dict)
    assert [result["ok"] for result in answer["results"]] == [False]
    assert not bench.agent.stopped


def test_who_follows_an_output_far_away_holds_nobody_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("a.sh")
    bench.until(lambda: bench.agent.launched)
    answered = threading.Event()
    asked = threading.Semaphore(0)

    def tail(*_: object) -> bytes:
        asked.release()
        answered.wait(30)
        return b"it runs"

    monkeypatch.setattr(bench.agent, "tail", tail)
    answers: list[object] = []
    me = Peer(os.getpid(), os.geteuid(), os.getegid())
    for _ in range(10):
        args = {"id": bench.only_id()}
        bench.parts.inbox.put(Request("tail", args, me, answers.append))
    bench.ticks()
    assert asked.acquire(timeout=10)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a.sh"))
    assert answers == []
    answered.set()
    wait_until(lambda: len(answers) == 10)
    assert {str(each) for each in answers} == {str(answers[0])}
    assert "aXQgcnVucw==" in str(answers[0])
