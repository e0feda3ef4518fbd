"""In which order results are looked for, how often, and when a folder counts as changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from spoolmw.client import Spool
from spoolmw.client.folders import Changes
from spoolmw.client.future import SpoolTask
from spoolmw.client.pace import (
    LONGEST_S,
    MANY,
    QUIET_AFTER_MANY_S,
    QUIET_AFTER_S,
    SHORTEST_S,
    Pace,
)
from spoolmw.client.pending import FRONT_MISSES, SKIPS, Pending, look
from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import prepare


def a_task(folder: Path, number: int) -> SpoolTask:
    path = str(folder / f"{number}.result")
    return SpoolTask(None, TaskId(f"{number:032x}"), "t", f"{number}.task", path, keep=False)  # type: ignore[arg-type]


def deliver(task: SpoolTask, data: bytes = b"x") -> None:
    Path(task.result_file).write_bytes(data)


@pytest.fixture
def tasks(tmp_path: Path) -> list[SpoolTask]:
    return [a_task(tmp_path, number) for number in range(100)]


@pytest.fixture
def pending(tasks: list[SpoolTask]) -> Pending:
    made = Pending()
    for task in tasks:
        made.add(task)
    return made


def found(pending: Pending) -> list[SpoolTask]:
    """One round, after which what was found is settled."""
    some = [task for task, _ in pending.in_turn()]
    for task in some:
        pending.drop(task)
        os.unlink(task.result_file)
    return some


def test_results_in_turn_are_found_in_one_round(
    pending: Pending, tasks: list[SpoolTask]
) -> None:
    for task in tasks[:50]:
        deliver(task)
    assert found(pending) == tasks[:50]
    assert len(pending) == 50


def test_a_round_in_vain_looks_only_so_often(pending: Pending, tasks: list[SpoolTask]) -> None:
    deliver(tasks[FRONT_MISSES])
    assert found(pending) == []
    deliver(tasks[FRONT_MISSES - 1])
    assert found(pending) == [tasks[FRONT_MISSES - 1], tasks[FRONT_MISSES]]


def test_a_task_that_others_overtake_becomes_late_and_is_still_found(
    pending: Pending, tasks: list[SpoolTask]
) -> None:
    for number in range(1, SKIPS + 2):
        deliver(tasks[number])
        assert found(pending) == [tasks[number]]
    deliver(tasks[0])
    assert found(pending) == [tasks[0]]


def test_after_a_result_out_of_turn_the_front_is_there(
    pending: Pending, tasks: list[SpoolTask]
) -> None:
    pending.overtake(tasks[60])
    for task in tasks[60:]:
        deliver(task)
    assert set(found(pending)) == set(tasks[60:])


@pytest.mark.parametrize("others", [0, 200])
def test_a_look_at_a_folder_finds_all_results_in_it_whatever_else_lies_there(
    pending: Pending, tasks: list[SpoolTask], tmp_path: Path, others: int
) -> None:
    for number in range(others):
        (tmp_path / f"other-{number}.result").write_bytes(b"y")
    for task in tasks[::30]:
        deliver(task)
    assert [task for task, _ in pending.in_folder(str(tmp_path), "")] == tasks[::30]


def test_a_folder_that_cannot_be_read_is_no_reason_to_miss_a_result(
    pending: Pending, tasks: list[SpoolTask], tmp_path: Path
) -> None:
    deliver(tasks[7])
    assert [t for t, _ in pending.in_folder(str(tmp_path / "gone"), "")] == [tasks[7]]


def test_asking_goes_through_all_in_turn(pending: Pending, tasks: list[SpoolTask]) -> None:
    asked = [task for _ in range(10) for task in pending.oldest(10)]
    assert asked == tasks


def test_a_file_that_cannot_be_read_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert look(str(tmp_path / "link")) == b""
    assert look(str(tmp_path / "nothing")) is None
    (tmp_path / "folder").mkdir()
    assert look(str(tmp_path / "folder")) == b""
    os.mkfifo(tmp_path / "pipe")
    assert look(str(tmp_path / "pipe")) == b"", "and nobody blocks on it"


def test_a_large_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"ab" * 200_000)
    assert look(str(tmp_path / "large")) == b"ab" * 200_000


# -- folders ---------------------------------------------------------------------------------


def test_a_quiet_folder_is_new_once(tmp_path: Path) -> None:
    changes, folder = Changes(), str(tmp_path)
    os.utime(folder, (time.time() - 10, time.time() - 10))
    mark = changes.mark(folder)
    assert changes.is_new(folder, mark)
    changes.seen(folder, mark)
    assert not changes.is_new(folder, changes.mark(folder))
    (tmp_path / "x").write_text("")
    assert changes.is_new(folder, changes.mark(folder))


def test_a_folder_that_changed_this_instant_may_change_again_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolmw.client.folders.TICK_S", 60.0)
    changes, folder = Changes(), str(tmp_path)
    (tmp_path / "x").write_text("")
    mark = changes.mark(folder)
    changes.seen(folder, mark)
    assert changes.is_new(folder, mark)


def test_a_folder_that_is_not_there_is_not_new(tmp_path: Path) -> None:
    changes = Changes()
    assert not changes.is_new("x", changes.mark(str(tmp_path / "none")))


# -- pace --------------------------------------------------------------------------------------


def test_just_after_a_submission_it_looks_often_and_then_less() -> None:
    pace = Pace()
    pace.submitted(1, now=10.0)
    assert pace.pause_s == SHORTEST_S
    for _ in range(100):
        pace.found(0, now=10.0)
    assert pace.pause_s == LONGEST_S


def test_it_rests_when_nothing_came_for_a_while() -> None:
    pace = Pace()
    pace.submitted(1, now=10.0)
    assert not pace.is_quiet(10.0 + QUIET_AFTER_S / 2)
    assert pace.is_quiet(10.0 + QUIET_AFTER_S * 1.5)


def test_while_results_flow_it_waits_for_a_handful() -> None:
    pace = Pace()
    pace.submitted(1000, now=10.0)
    for _ in range(10):
        pace.found(5, now=10.0)
    assert pace.pause_s == LONGEST_S
    for _ in range(10):
        pace.found(200, now=10.0)
    assert pace.pause_s < LONGEST_S / 4


def test_after_many_it_looks_for_longer_before_it_rests() -> None:
    pace = Pace()
    pace.found(MANY, now=10.0)
    assert not pace.is_quiet(10.0 + QUIET_AFTER_S * 1.5)
    assert pace.is_quiet(10.0 + QUIET_AFTER_MANY_S * 1.5)


def test_being_woken_too_often_turns_to_looking() -> None:
    pace = Pace()
    assert not pace.rung(1, now=10.0)
    assert any(pace.rung(1, now=10.1) for _ in range(100))
    assert not pace.is_quiet(10.1)


def test_a_misspelt_state_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    spool = Spool(prepare(tmp_path / "spool").root)
    with pytest.raises(ValueError, match='did you mean "failed"'):
        spool.find(state="flied")
