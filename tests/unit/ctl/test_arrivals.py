"""A dropped file is followed until it is a task or was refused."""

from __future__ import annotations

import time

import pytest

from spoolmw.ctl import arrivals
from spoolmw.ctl.arrivals import Arrivals
from spoolmw.ctl.session import Session
from spoolmw.ctl.wait import Wait
from spoolmw.errors import UnknownTask
from spoolmw.spooldir.layout import Layout
from tests.unit.ctl.conftest import Enter


def test_a_task_of_the_journal_has_arrived(session: Session, enter: Enter) -> None:
    task = enter("fold")
    names = Arrivals(session, ["fold"])
    assert names.look() == ([task], [])
    assert not names


def test_a_new_file_comes_before_an_old_task_of_its_name(
    session: Session, layout: Layout, enter: Enter
) -> None:
    enter("job.sh", made_at=1.0)
    (layout.incoming / "job.sh").touch()
    names = Arrivals(session, ["job.sh"])
    assert names.look() == ([], [])
    (layout.incoming / "job.sh").unlink()
    assert names.look() == ([], [])
    accepted = enter("job.sh", made_at=time.time() + 1)
    assert names.look() == ([accepted], [])


def test_a_refused_file_has_ended(session: Session, layout: Layout, enter: Enter) -> None:
    enter("job.sh", made_at=1.0)
    (layout.rejected / "job.sh").touch()
    (layout.rejected / "job.sh.reason").write_text("It is empty.\nTo do: fill it.\n")
    arrived, [refused] = Arrivals(session, ["job.sh"]).look()
    assert not arrived
    assert (refused["state"], refused["message"]) == (
        "rejected",
        "It is empty. To do: fill it.",
    )


def test_a_task_that_is_newer_than_the_refused_file_counts(
    session: Session, layout: Layout, enter: Enter
) -> None:
    (layout.rejected / "job.sh").touch()
    task = enter("job.sh", made_at=time.time() + 1)
    assert Arrivals(session, ["job.sh"]).look() == ([task], [])


def test_a_name_that_is_nowhere_is_an_error_after_a_moment(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Arrivals(session, ["nothing"])
    assert names.look() == ([], [])
    monkeypatch.setattr(arrivals, "NOWHERE_S", 0.0)
    with pytest.raises(UnknownTask, match="no task nothing"):
        names.look()


def test_at_the_time_out_a_name_that_is_nowhere_is_told_apart_from_a_task_that_is_open(
    session: Session, layout: Layout, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    enter("fold")
    (layout.incoming / "job.sh").touch()
    waiting = Wait(session, ["fold", "job.sh", "nothing"], quiet=False)
    assert waiting.run(timeout_s=0.0, first=False, patience_s=30.0) == 124
    assert capsys.readouterr().err.splitlines() == [
        "Timed out; 2 tasks still open.",
        "There is no task nothing so far.",
    ]


def test_a_file_that_was_seen_and_is_no_task_yet_is_not_nowhere(
    session: Session, layout: Layout
) -> None:
    (layout.incoming / "job.sh").touch()
    names = Arrivals(session, ["job.sh", "nothing"])
    names.look()
    (layout.incoming / "job.sh").unlink()
    names.look()
    assert names.nowhere() == ["nothing"]


def test_a_name_means_the_task_that_was_just_submitted_under_it(
    session: Session, layout: Layout, enter: Enter
) -> None:
    enter("fold", made_at=1.0)
    mine = f"{int(time.time() * 1000):012x}" + "9" * 20
    file = layout.incoming / f"fold-{mine}.task"
    file.touch()
    names = Arrivals(session, ["fold"])
    assert names.look() == ([], [])
    file.rename(layout.rejected / file.name)
    enter("fold", made_at=time.time() + 1)
    arrived, [refused] = names.look()
    assert not arrived, "somebody else's of the same name"
    assert (refused["id"], refused["name"]) == (mine, "fold")
