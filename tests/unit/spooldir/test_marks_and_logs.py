"""What survives a lost journal beside the task files: markers and the log of what was delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Ending, Task, TaskState
from spoolmw.spooldir import donelog, markers
from spoolmw.spooldir.donelog import RETRIED, Done, DoneLog
from spoolmw.spooldir.layout import Layout, active_name
from spoolmw.spooldir.markers import Mark

A = TaskId("0193f2a3b4c5" + "a" * 20)
B = TaskId("0193f2a3b4c5" + "b" * 20)
C = TaskId("0193f2a3b4c5" + "c" * 20)


def a_delivered_task(task_id: TaskId = A, *, key: str = "", box: str = "") -> Task:
    return Task(
        seq=1,
        id=task_id,
        box=box,
        dropped="x.task",
        result_name="x",
        spec=Spec(name="x", key=key),
        submitted_at=1.0,
        state=TaskState.DELIVERING,
        ending=Ending(
            state=TaskState.DONE, cause=Cause.FINISHED, blame=Blame.NONE, digest="d" * 64
        ),
    )


def an_open_task() -> Task:
    return Task(
        seq=1, id=A, box="", dropped="x.task", result_name="x", spec=Spec(name="x"),
        submitted_at=1.0,
    )  # fmt: skip


class TestMarkers:
    def test_a_hold_and_a_cancel_are_found_again(self, layout: Layout) -> None:
        markers.put(layout, A, Mark.HOLD)
        markers.put(layout, A, Mark.HOLD)
        markers.put(layout, B, Mark.CANCEL)
        (layout.active / active_name(A, "", "x.hold")).write_text("")
        assert set(markers.found(layout)) == {(A, Mark.HOLD), (B, Mark.CANCEL)}

    def test_they_go_one_by_one_or_together(self, layout: Layout) -> None:
        for mark in Mark:
            markers.put(layout, A, mark)
        markers.remove(layout, A, Mark.HOLD)
        assert set(markers.found(layout)) == {(A, Mark.CANCEL)}
        markers.clear(layout, A)
        markers.clear(layout, A)
        assert list(markers.found(layout)) == []


class TestDoneLog:
    def test_what_was_delivered_is_read_back(self, layout: Layout) -> None:
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(key="fold/17 ä", box="my box"), a_delivered_task(B)])
        log.close()
        assert donelog.read(layout.done_log) == {
            A: Done("fold/17 ä", "d" * 64, "done", "my box", "x"),
            B: Done("", "d" * 64, "done", "", "x"),
        }

    def test_a_dash_is_a_key_like_any_other(self, layout: Layout) -> None:
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(key="-")])
        log.close()
        assert donelog.read(layout.done_log)[A].key == "-"

    def test_the_newest_line_of_a_task_counts(self, layout: Layout) -> None:
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task()])
        log.append([an_open_task()])
        log.close()
        assert donelog.read(layout.done_log)[A].state == RETRIED

    def test_a_line_that_a_crash_cut_off_costs_only_itself(self, layout: Layout) -> None:
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task()])
        log.close()
        with layout.done_log.open("ab") as file:
            file.write(f"{B} done - ".encode())
        assert list(donelog.read(layout.done_log)) == [A]
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(B)])
        log.close()
        assert set(donelog.read(layout.done_log)) == {A, B}

    def test_rubbish_in_it_is_no_error(self, layout: Layout) -> None:
        layout.done_log.write_bytes(b"\xff\xfe\n\n   \nhello\n")
        assert donelog.read(layout.done_log) == {}

    def test_an_absent_log_is_an_empty_one(self, tmp_path: Path) -> None:
        assert donelog.read(tmp_path / "none") == {}

    def test_the_oldest_lines_go_once_there_are_enough_of_them(
        self, layout: Layout, half: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(), a_delivered_task(B)])
        whole = layout.done_log.read_bytes()
        assert log.shorten(only(A), half=half) == 0, "a few bytes are not worth the writing"
        monkeypatch.setattr(donelog, "_WORTH_BYTES", 1)
        assert log.shorten(only(A), half=half) == whole.index(b"\n") + 1
        assert layout.done_log.read_bytes() == whole[whole.index(b"\n") + 1 :]
        assert layout.done_log.stat().st_mode & 0o777 == 0o600
        log.append([a_delivered_task(C)])
        log.close()
        assert list(donelog.read(layout.done_log)) == [B, C]
        assert not half.exists()

    def test_what_stays_keeps_what_is_behind_it(
        self, layout: Layout, half: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(donelog, "_WORTH_BYTES", 1)
        layout.done_log.write_bytes(b"rubbish\n")
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(each) for each in (A, B, C)])
        assert log.shorten(only(A, C), half=half) > 0
        assert list(donelog.read(layout.done_log)) == [B, C]
        assert log.shorten(only(A, C), half=half) == 0
        log.close()

    def test_a_log_that_cannot_be_shortened_is_as_it_was(
        self, layout: Layout, half: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(donelog, "_WORTH_BYTES", 1)
        log = DoneLog(layout.done_log)
        log.append([a_delivered_task(), a_delivered_task(B)])
        with pytest.raises(FileNotFoundError):
            log.shorten(only(A), half=half / "nowhere")
        log.append([a_delivered_task(C)])
        assert list(donelog.read(layout.done_log)) == [A, B, C]
        assert log.shorten(only(A), half=half) > 0, "it is tried again"
        log.close()
        assert list(donelog.read(layout.done_log)) == [B, C]


def only(*over: TaskId) -> Callable[[list[TaskId]], list[TaskId]]:
    """Nobody needs the lines of these."""
    return lambda ids: [each for each in ids if each in over]


@pytest.fixture
def half(layout: Layout) -> Path:
    return layout.journal.with_name("done.log.part")
