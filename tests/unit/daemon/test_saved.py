"""Checkpoints in the daemon's hands, tick by tick: which are kept, which go, and who goes on from what."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from spoolmw.daemon import fsck
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.rebuild import rebuild
from spoolmw.model.agent import Launch
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from spoolmw.spooldir import checkpoints
from tests.support.bench import Bench

KEEPING = "#!/bin/sh\n#SPOOLMW checkpoint.keep = true\ntrue\n"
STRANGER = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"


def launched(bench: Bench, number: int = 1) -> Launch:
    """The newest launch, once there were so many."""
    bench.until(lambda: len(bench.agent.launched) >= number)
    return bench.agent.launched[-1]


def there(bench: Bench, task_id: str) -> list[str]:
    """The names of a task's checkpoints."""
    found = checkpoints.of_task(bench.layout, task_id)  # type: ignore[arg-type]
    return [str(each.order) for each in found]


def saves(bench: Bench, launch: Launch, *sequences: int) -> None:
    for sequence in sequences:
        bench.agent.save(launch.attempt, sequence, b"state %d" % sequence)
    bench.ticks()


def fails(bench: Bench, launch: Launch) -> None:
    """The attempt raises, which is the end of its task."""
    bench.agent.finish(launch.attempt, results.failed("exit", "it failed", exit_code=1))
    bench.until(lambda: not len(bench.parts.table))


def a_saving_task(bench: Bench, text: str = "#!/bin/sh\ntrue\n") -> Launch:
    """A running task with three saves behind it."""
    bench.drop("a.sh", text)
    launch = launched(bench)
    saves(bench, launch, 1, 2, 3)
    return launch


def ended(bench: Bench) -> None:
    bench.until(lambda: bench.delivered("a.sh") and not len(bench.parts.table))
    bench.ticks()


def answered(answer: object) -> dict[str, object]:
    """The only result of a request for one task."""
    assert isinstance(answer, dict)
    [result] = answer["results"]
    assert isinstance(result, dict)
    return result


# What is kept


def test_the_two_newest_are_kept(bench: Bench) -> None:
    launch = a_saving_task(bench)
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]
    [task] = bench.parts.table
    assert task.saved is not None
    assert (task.saved.order, task.saved.size_bytes) == ((1, 3), 7)


def test_those_of_the_attempt_before_stay_until_there_are_two_newer(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.agent.crash(launch.attempt)
    again = launched(bench, 2)
    saves(bench, again, 1)
    assert there(bench, launch.attempt.task) == ["1-3", "2-1"]
    saves(bench, again, 2)
    assert there(bench, launch.attempt.task) == ["2-1", "2-2"]


def test_they_go_when_the_task_is_done(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.agent.finish(launch.attempt)
    ended(bench)
    assert os.listdir(bench.layout.checkpoints) == []


def test_they_stay_when_the_task_wants_to_keep_them(bench: Bench) -> None:
    launch = a_saving_task(bench, KEEPING)
    bench.agent.finish(launch.attempt)
    ended(bench)
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]
    bench.close()
    bench.start()
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]


def test_those_of_a_failed_task_stay_until_it_is_pruned(bench: Bench) -> None:
    launch = a_saving_task(bench)
    fails(bench, launch)
    bench.close()
    bench.start()
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]
    bench.ask("prune", story_s=0)
    assert os.listdir(bench.layout.checkpoints) == []


def test_those_of_a_cancelled_task_stay(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.ask("cancel", ids=[launch.attempt.task])
    ended(bench)
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]


def test_a_checkpoint_of_which_nobody_heard_goes_too_when_the_task_is_done(
    bench: Bench,
) -> None:
    bench.drop("a.sh")
    launch = launched(bench)
    bench.agent.save_unheard(launch.attempt, 1)
    bench.agent.crash(launch.attempt)
    bench.agent.finish(launched(bench, 2).attempt)
    ended(bench)
    assert os.listdir(bench.layout.checkpoints) == []


def test_a_task_without_checkpoints_costs_no_look_at_their_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(checkpoints, "_names", looked.append)
    bench.drop("a.sh")
    bench.agent.finish(launched(bench).attempt)
    ended(bench)
    assert looked == []


def test_what_an_attempt_that_was_given_up_still_saves_changes_nothing(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.agent.crash(launch.attempt)
    again = launched(bench, 2)
    saves(bench, again, 1)
    saves(bench, launch, 4)
    [task] = bench.parts.table
    assert task.saved is not None
    assert task.saved.order == (2, 1)
    assert there(bench, launch.attempt.task)[-1] == "2-1"


# Losses


def test_a_task_that_saves_may_be_lost_any_number_of_times(bench: Bench) -> None:
    bench.drop("a.sh")
    for number in range(1, 6):
        launch = launched(bench, number)
        saves(bench, launch, 1)
        bench.agent.crash(launch.attempt)
    launched(bench, 6)
    [task] = bench.parts.table
    assert (task.state, task.losses) == (TaskState.RUNNING, 1)


# A start


def test_a_start_takes_up_what_nobody_heard_of_and_trims_it(bench: Bench) -> None:
    launch = a_saving_task(bench)
    for sequence in (4, 5):
        bench.agent.save_unheard(launch.attempt, sequence)
    half = checkpoints.place(bench.layout, launch.attempt.task) / ".1-6.tmp"
    half.mkdir()
    bench.close()
    bench.start()
    assert there(bench, launch.attempt.task) == ["1-4", "1-5"]
    assert not half.exists()


def test_a_start_removes_what_a_crash_left_of_a_done_task(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.agent.finish(launch.attempt)
    ended(bench)
    bench.agent.save_unheard(launch.attempt, 9)
    bench.close()
    bench.start()
    assert os.listdir(bench.layout.checkpoints) == []


def test_a_start_leaves_strangers_alone(bench: Bench) -> None:
    (bench.layout.checkpoints / STRANGER / "0" / "1-1").mkdir(parents=True)
    (bench.layout.checkpoints / "notes").mkdir()
    bench.close()
    bench.start()
    assert there(bench, STRANGER) == ["1-1"]
    assert (bench.layout.checkpoints / "notes").exists()


def test_the_next_start_counts_the_losses_anew_as_the_journal_says(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.close()
    bench.start()
    bench.until(lambda: bench.agent.launched)
    [task] = bench.parts.table
    assert (task.attempt, task.losses) == (2, 0)
    assert task.saved is not None
    assert task.saved.order == (1, 3)
    assert launch.attempt.task == task.id


# A rebuild


def test_a_rebuilt_task_goes_on_from_its_checkpoint_and_what_it_saves_is_newer(
    bench: Bench,
) -> None:
    bench.drop("a.sh")
    for number in (1, 2):
        saves(bench, launched(bench, number), 1)
        bench.agent.crash(bench.agent.launched[-1].attempt)
    launched(bench, 3)
    bench.close()
    rebuild(bench.layout)
    bench.start()
    launch = launched(bench)
    [task] = bench.parts.table
    assert task.saved is not None
    assert task.saved.order == (2, 1)
    assert launch.attempt.attempt > 2
    saves(bench, launch, 1)
    assert there(bench, task.id) == ["2-1", f"{launch.attempt.attempt}-1"]


def test_a_failed_task_can_be_retried_from_its_checkpoint_after_a_rebuild(bench: Bench) -> None:
    launch = a_saving_task(bench)
    fails(bench, launch)
    bench.close()
    rebuild(bench.layout)
    bench.start()
    answer = answered(bench.ask("retry", ids=[launch.attempt.task]))
    assert "from checkpoint 1-3" in str(answer["text"])
    assert launched(bench).attempt.attempt == 2


def test_what_a_done_task_kept_is_kept_after_a_rebuild(bench: Bench) -> None:
    launch = a_saving_task(bench, KEEPING)
    bench.agent.finish(launch.attempt)
    ended(bench)
    bench.close()
    rebuild(bench.layout)
    bench.start()
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]


# Retry


def test_a_retry_goes_on_from_the_checkpoint_and_says_so(bench: Bench) -> None:
    launch = a_saving_task(bench)
    fails(bench, launch)
    answer = answered(bench.ask("retry", ids=[launch.attempt.task]))
    assert "from checkpoint 1-3" in str(answer["text"])
    again = launched(bench, 2)
    assert (again.attempt.attempt, again.since) == (2, 0)
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]


def test_a_fresh_retry_starts_anew_and_its_attempts_are_told(bench: Bench) -> None:
    launch = a_saving_task(bench)
    fails(bench, launch)
    answer = answered(bench.ask("retry", ids=[launch.attempt.task], fresh=True))
    assert "from the start" in str(answer["text"])
    again = launched(bench, 2)
    assert (again.attempt.attempt, again.since) == (2, 2)
    bench.ticks()
    assert there(bench, launch.attempt.task) == []
    saves(bench, again, 1)
    bench.agent.crash(again.attempt)
    assert launched(bench, 3).since == 2
    assert there(bench, launch.attempt.task) == ["2-1"]


def test_a_fresh_retry_stays_fresh_after_a_restart(bench: Bench) -> None:
    launch = a_saving_task(bench)
    fails(bench, launch)
    bench.ask("retry", ids=[launch.attempt.task], fresh=True)
    launched(bench, 2)
    bench.close()
    bench.start()
    assert launched(bench).since == 2


# A checkpoint from elsewhere


def put(bench: Bench, task_id: str, name: str, state: bytes = b"brought") -> Path:
    folder = bench.layout.checkpoints / task_id / "0" / name
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(state)
    return folder


def test_a_checkpoint_that_is_brought_to_a_held_task_counts(bench: Bench) -> None:
    bench.drop("a.sh")
    launch = launched(bench)
    task_id = launch.attempt.task
    bench.ask("hold", ids=[task_id])
    put(bench, task_id, "1-1")
    answer = bench.ask("brought", id=task_id, attempt=1, sequence=1)
    assert isinstance(answer, dict)
    assert answer["ok"], answer
    [task] = bench.parts.table
    assert task.saved is not None
    assert (task.saved.order, task.saved.size_bytes) == ((1, 1), 7)


def test_to_a_failed_task_one_can_be_brought_for_its_retry(bench: Bench) -> None:
    bench.drop("a.sh")
    launch = launched(bench)
    fails(bench, launch)
    task_id = launch.attempt.task
    put(bench, task_id, "1-1")
    answer = bench.ask("brought", id=task_id, attempt=1, sequence=1)
    assert isinstance(answer, dict)
    assert answer["ok"], answer
    status = bench.ask("status")
    assert isinstance(status, dict)
    assert status["tasks"]["failed"] == 1
    retried = answered(bench.ask("retry", ids=[task_id]))
    assert "from checkpoint 1-1" in str(retried["text"])


def test_to_a_running_task_nothing_is_brought(bench: Bench) -> None:
    launch = a_saving_task(bench)
    put(bench, launch.attempt.task, "1-4")
    answer = bench.ask("brought", id=launch.attempt.task, attempt=1, sequence=4)
    assert isinstance(answer, dict)
    assert (answer["ok"], answer["text"]) == (False, "it is running")


@pytest.mark.parametrize(("attempt", "sequence"), [(1, 2), (1, 4), (7, 1), ("1", None)])
def test_what_is_not_the_newest_there_cannot_be_brought(
    bench: Bench, attempt: object, sequence: object
) -> None:
    launch = a_saving_task(bench)
    bench.ask("hold", ids=[launch.attempt.task])
    answer = bench.ask("brought", id=launch.attempt.task, attempt=attempt, sequence=sequence)
    assert "There is no checkpoint" in str(answer)


# Progress


def test_progress_is_known_while_the_attempt_runs_and_ends_with_it(bench: Bench) -> None:
    bench.drop("a.sh")
    launch = launched(bench)
    bench.agent.progress(launch.attempt, 0.25, "epoch 1")
    bench.agent.progress(launch.attempt, 0.5, "epoch 2")
    bench.ticks()
    answer = bench.ask("progress", ids=[launch.attempt.task])
    assert isinstance(answer, dict)
    [told] = answer["progress"]
    assert (told["fraction"], told["text"]) == (0.5, "epoch 2")
    bench.agent.crash(launch.attempt)
    launched(bench, 2)
    assert bench.ask("progress") == {"progress": []}


def test_what_an_older_attempt_says_of_its_progress_is_late(bench: Bench) -> None:
    bench.drop("a.sh")
    launch = launched(bench)
    bench.agent.crash(launch.attempt)
    launched(bench, 2)
    bench.agent.progress(launch.attempt, 0.9)
    bench.ticks()
    assert bench.ask("progress") == {"progress": []}


# What an administrator sees


def test_fsck_tells_of_checkpoints_of_tasks_that_nobody_knows_and_prune_removes_them(
    bench: Bench,
) -> None:
    launch = a_saving_task(bench)
    mine = checkpoints.place(bench.layout, launch.attempt.task) / "1-3"
    shutil.copytree(mine, bench.layout.checkpoints / STRANGER / "0" / "1-1")
    bench.close()
    report = fsck.check(bench.layout)
    assert report["checkpoints"] == 3
    [problem] = report["problems"]  # type: ignore[misc]
    assert STRANGER in problem
    bench.start()
    kept = bench.ask("prune", checkpoints_s=3600)
    assert isinstance(kept, dict)
    assert kept["checkpoints"] == 0
    gone = bench.ask("prune", checkpoints_s=0)
    assert isinstance(gone, dict)
    assert gone["checkpoints"] == 1
    assert int(gone["bytes"]) > 7
    assert there(bench, STRANGER) == []
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]


def test_fsck_tells_of_damaged_checkpoints(bench: Bench) -> None:
    launch = a_saving_task(bench)
    bench.close()
    assert fsck.check(bench.layout)["problems"] == []
    manifest = checkpoints.place(bench.layout, launch.attempt.task) / "1-3" / "MANIFEST"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    [problem] = fsck.check(bench.layout)["problems"]  # type: ignore[misc]
    assert "1-3 is damaged (its MANIFEST was cut short or changed)" in problem
    bench.start()


def test_retention_takes_what_a_forgotten_task_had_kept(bench: Bench) -> None:
    launch = a_saving_task(bench, KEEPING)
    bench.agent.finish(launch.attempt)
    ended(bench)
    bench.parts.housekeeping.run(boot_s())
    assert there(bench, launch.attempt.task) == ["1-2", "1-3"]
    bench.ask("prune", story_s=0)
    assert os.listdir(bench.layout.checkpoints) == []
