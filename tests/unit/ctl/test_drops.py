"""Files that are no tasks yet, or never became any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoolmw.ctl.drops import count_waiting, find_dropped, refused, waiting
from spoolmw.ctl.session import Session
from spoolmw.ctl.status import gather
from spoolmw.spooldir.layout import Layout

NEWS, GAMES = 9, 60  #: a user and a group that every Debian has
ID = "0193f3a1b2c4" + "0" * 20


@pytest.fixture
def layout(layout: Layout) -> Layout:
    (layout.incoming / "box").mkdir()
    return layout


def test_only_what_the_daemon_takes_counts_as_waiting(layout: Layout) -> None:
    for name in ("a.task", "b.sh", "box/c.toml", ".hidden", "d.part", "e.tmp", "f~"):
        (layout.incoming / name).touch()
    (layout.incoming / "b.sh.in").mkdir()
    (layout.incoming / "b.sh.in" / "input").touch()
    assert {(file.box, file.name) for file in waiting(layout)} == {
        ("", "a.task"),
        ("", "b.sh"),
        ("box", "c.toml"),
    }
    assert count_waiting(layout) == 3


def test_counting_stops_at_the_limit(layout: Layout) -> None:
    for number in range(9):
        (layout.incoming / f"{number}.sh").touch()
    assert count_waiting(layout, 4) == 4


def test_a_spool_without_folders_has_no_files(tmp_path: Path) -> None:
    assert count_waiting(Layout(tmp_path / "none")) == 0


def test_a_file_is_found_by_its_id_its_name_and_its_box(layout: Layout) -> None:
    (layout.incoming / "box" / f"fold-{ID}.task").touch()
    (layout.incoming / "job.sh").touch()
    for word in (ID, f"fold-{ID}", f"box/fold-{ID}.task"):
        found = find_dropped(layout, word)
        assert found is not None
        assert (found.task_id, found.box, found.refused) == (ID, "box", False)
    script = find_dropped(layout, "job.sh")
    assert script is not None
    assert script.task_id == ""
    assert find_dropped(layout, "other") is None


def test_a_refused_file_comes_with_its_reason(layout: Layout) -> None:
    (layout.rejected / f"fold-{ID}.task").touch()
    (layout.rejected / f"fold-{ID}.task.reason").write_text("It is not whole.\nWhy: ...\n")
    found = find_dropped(layout, ID)
    assert found is not None
    assert found.refused
    assert found.text == "It was refused: It is not whole."
    assert [file.name for file in refused(layout)] == [f"fold-{ID}.task"]


def test_a_task_is_found_by_the_name_that_its_submitter_gave_it(layout: Layout) -> None:
    later = "0193f3a1b2c5" + "0" * 20
    for each in (ID, later):
        (layout.incoming / f"fold-{each}.task").touch()
    (layout.rejected / f"bend-{ID}.task").touch()
    found = find_dropped(layout, "fold")
    assert found is not None
    assert (found.called, found.task_id) == ("fold", later), "the newest"
    gone = find_dropped(layout, "bend")
    assert gone is not None
    assert gone.refused


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_file_that_the_daemons_user_may_not_read_says_so_and_what_to_do(
    layout: Layout,
) -> None:
    os.chown(layout.root, NEWS, GAMES)
    modes = {"root.sh": 0o600, "group.sh": 0o040, "all.sh": 0o604, "his.sh": 0o600}
    for name, mode in modes.items():
        (layout.incoming / name).touch()
        (layout.incoming / name).chmod(mode)
    os.chown(layout.incoming / "group.sh", 0, GAMES)
    os.chown(layout.incoming / "his.sh", NEWS, 0)
    closed_one = find_dropped(layout, "root.sh")
    assert closed_one is not None
    assert "daemon's user (news) may not read it" in closed_one.text
    assert f"chown news {layout.incoming}/root.sh" in closed_one.fix
    for name in ("group.sh", "all.sh", "his.sh"):
        open_one = find_dropped(layout, name)
        assert open_one is not None
        assert "was not taken yet" in open_one.text, name
    [warning] = gather(Session(given_spool=str(layout.root)))["warnings"]
    assert warning.startswith("1 file in incoming/ may not be read by news")
    os.chown(layout.root, 0, 0)
    assert "was not taken yet" in getattr(find_dropped(layout, "root.sh"), "text", "")
