"""The folders of checkpoints: which are listed, which are needed, and how they go."""

from __future__ import annotations

import itertools
from pathlib import Path

from spoolmw.model.ids import TaskId
from spoolmw.spooldir import checkpoints
from spoolmw.spooldir.checkpoints import Order, outdated
from spoolmw.spooldir.layout import Layout

TASK = TaskId("0193a000" + "0" * 24)


def put(layout: Layout, *names: str, replica: int = 0) -> Path:
    folder = checkpoints.place(layout, TASK, replica)
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "MANIFEST").write_text("whole", encoding="utf-8")
    return folder


def names(layout: Layout, replica: int = 0) -> list[str]:
    return [str(found.order) for found in checkpoints.of_replica(layout, TASK, replica)]


def test_the_newest_comes_last_by_number_and_not_by_letter(layout: Layout) -> None:
    put(layout, "2-1", "1-10", "1-9", "10-1")
    assert names(layout) == ["1-9", "1-10", "2-1", "10-1"]


def test_nothing_else_is_a_checkpoint(layout: Layout) -> None:
    put(
        layout,
        ".1-1.tmp",
        ".1-2.damaged",
        ".1-3.gone",
        "notes",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "٣-1",
    )
    assert names(layout) == []


def test_a_task_without_a_folder_has_none(layout: Layout) -> None:
    assert names(layout) == []
    assert checkpoints.of_task(layout, TASK) == []
    assert list(checkpoints.tasks(layout)) == []
    checkpoints.remove(layout, TASK)
    checkpoints.trim(layout, TASK, 0, Order(1, 1), 0)


def test_all_replicas_of_a_task_are_listed(layout: Layout) -> None:
    put(layout, "1-1")
    put(layout, "3-1", replica=1)
    found = [(each.replica, str(each.order)) for each in checkpoints.of_task(layout, TASK)]
    assert found == [(0, "1-1"), (1, "3-1")]
    assert list(checkpoints.tasks(layout)) == [TASK]


ORDERS = [Order(attempt, sequence) for attempt in (1, 2, 3) for sequence in (1, 2)]


def test_whatever_there_is_the_newest_and_the_one_before_it_are_never_outdated() -> None:
    for number in range(len(ORDERS) + 1):
        for there in itertools.combinations(ORDERS, number):
            for newest, since in itertools.product((None, *ORDERS), range(5)):
                gone = set(outdated(there, newest, since))
                kept = [order for order in there if order not in gone]
                counting = [order for order in there if order.attempt >= since]
                assert set(sorted(counting)[-2:]) <= set(kept)
                if newest is None:
                    assert kept == counting
                    continue
                assert all(order in kept for order in there if order > newest)
                assert len([order for order in kept if order <= newest]) <= 2
                assert all(order.attempt >= since for order in kept if order <= newest)


def test_trimming_removes_what_is_outdated_and_halves_that_nobody_writes(
    layout: Layout,
) -> None:
    folder = put(layout, "1-1", "1-2", "2-1", "2-2", "2-3", ".1-3.tmp", ".2-4.tmp", ".1-1.gone")
    checkpoints.trim(layout, TASK, 0, Order(2, 2), 0)
    assert names(layout) == ["2-1", "2-2", "2-3"]
    assert sorted(path.name for path in folder.iterdir() if path.name[0] == ".") == [".2-4.tmp"]


def test_trimming_can_be_done_again_after_it_was_killed_half_way(layout: Layout) -> None:
    folder = put(layout, "1-1", "1-2", "1-3", ".1-1.gone")
    (folder / "1-1" / "more").write_text("x", encoding="utf-8")
    for _ in range(2):
        checkpoints.trim(layout, TASK, 0, Order(1, 3), 0)
        assert names(layout) == ["1-2", "1-3"]


def test_a_removed_task_leaves_nothing(layout: Layout) -> None:
    put(layout, "1-1", ".1-2.tmp", ".1-0.damaged")
    put(layout, "3-1", replica=1)
    checkpoints.remove(layout, TASK)
    assert not (layout.checkpoints / TASK).exists()


def test_halves_go_alone(layout: Layout) -> None:
    folder = put(layout, "1-1", ".1-2.tmp", ".1-0.gone", ".1-7.damaged")
    checkpoints.remove_halves(layout, TASK)
    assert sorted(path.name for path in folder.iterdir()) == [".1-7.damaged", "1-1"]


def test_a_link_that_stands_there_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "1-1").mkdir(parents=True)
    (layout.checkpoints / TASK).mkdir()
    (layout.checkpoints / TASK / "0").symlink_to(outside)
    checkpoints.remove(layout, TASK)
    assert (outside / "1-1").exists()
    assert not (layout.checkpoints / TASK).exists()
