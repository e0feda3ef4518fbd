"""What people and programs are told of the journal, beside a running daemon and without one."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.errors import JournalCorrupt
from spoolmw.model.spec import Spec
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir.layout import prepare
from spoolmw.store import reading
from spoolmw.store.journal import Journal
from spoolmw.store.reports import Reports
from tests.support.people import said_by
from tests.unit.store.builders import (
    WALL,
    a_failure,
    a_full_spec,
    a_ran,
    a_task,
    an_ending,
    an_id,
    assigned,
    commit,
    lost,
    run_to_the_end,
    running,
    submitted,
)


def failed(number: int, **fields: object) -> Task:
    return a_task(
        number,
        state=TaskState.FAILED,
        attempt=1,
        ending=an_ending(TaskState.FAILED, message="exit status 3"),
        history=(a_failure(1),),
        **fields,
    )


@pytest.fixture
def some(journal: Journal) -> Journal:
    """A journal with a done, a running, a queued, a failed task; two of them in a box."""
    run_to_the_end(journal, a_task(1))
    commit(journal, submitted(a_task(2, box="fold")))
    commit(journal, assigned(a_task(2, box="fold")))
    commit(journal, submitted(a_task(3, spec=a_full_spec(name="three"))))
    commit(journal, submitted(failed(4, box="fold")))
    return journal


class TestLooking:
    def test_beside_a_running_daemon_the_newest_commit_is_seen(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            assert reports.counts()["queued"] == 1
            commit(some, submitted(a_task(5)))
            assert reports.counts()["queued"] == 2

    def test_after_the_daemon_ended_the_file_alone_is_read(self, some: Journal) -> None:
        some.close()
        before = sorted(os.listdir(some.path.parent))
        with Reports.open(some.path) as reports:
            assert reports.counts()["done"] == 1
        assert sorted(os.listdir(some.path.parent)) == before

    def test_after_a_crash_what_stands_in_the_wal_is_seen(self, path: Path) -> None:
        child = os.fork()
        if child == 0:
            commit(Journal.open(path), submitted(a_task(1)))
            os._exit(0)
        os.waitpid(child, 0)
        with Reports.open(path) as reports:
            assert reports.counts()["queued"] == 1

    def test_where_a_connection_cannot_be_had_a_private_copy_is_read(
        self, some: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really = reading._connected

        def refused(path: Path, how: str) -> sqlite3.Connection:
            if path == some.path:
                raise sqlite3.OperationalError("attempt to write a readonly database")
            return really(path, how)

        monkeypatch.setattr(reading, "_connected", refused)
        with Reports.open(some.path) as reports:
            assert reports.counts()["running"] == 1
            copy = reports._conn.execute("PRAGMA database_list").fetchone()[2]
            assert Path(copy).exists()
        assert not Path(copy).exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
    def test_another_user_who_may_read_the_files_sees_the_newest_commit(
        self, some: Journal
    ) -> None:
        said = _as_another_user(some.path)
        assert said == "1 running"

    def test_a_spool_where_no_daemon_ever_ran_has_no_tasks(self, tmp_path: Path) -> None:
        layout = prepare(tmp_path / "spool")
        with Reports.open(layout) as reports:
            assert sum(reports.counts().values()) == 0
            assert list(reports.tasks()) == []
        assert not layout.journal.exists()

    def test_a_damaged_journal_is_an_error_not_a_traceback(self, path: Path) -> None:
        path.write_bytes(b"hello" * 1000)
        with pytest.raises(JournalCorrupt):
            Reports.open(path)


class TestTasks:
    def test_each_state_is_counted_also_those_that_are_empty(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            assert reports.counts() == {
                "waiting": 0, "queued": 1, "held": 0, "running": 1, "delivering": 0,
                "done": 1, "failed": 1, "cancelled": 0, "expanding": 0,
                "validating": 0,
            }  # fmt: skip

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({}, [1, 2, 3, 4]),
            ({"newest": True}, [4, 3, 2, 1]),
            ({"newest": True, "limit": 2}, [4, 3]),
            ({"state": "open"}, [2, 3]),
            ({"state": "running"}, [2]),
            ({"state": "failed"}, [4]),
            ({"state": "nonsense"}, []),
            ({"box": "fold"}, [2, 4]),
            ({"box": ""}, [1, 3]),
            ({"box": "fold", "state": "open"}, [2]),
            ({"name": "three"}, [3]),
            ({"key": "fold/17"}, [3]),
            ({"key": "fold/17", "state": "failed"}, []),
        ],
    )
    def test_lists_are_narrowed(
        self, some: Journal, wanted: dict[str, object], found: list[int]
    ) -> None:
        with Reports.open(some.path) as reports:
            assert [task["seq"] for task in reports.tasks(**wanted)] == found  # type: ignore[arg-type]  # data-driven

    def test_a_task_is_told_with_its_attempts_and_what_it_asked_for(
        self, some: Journal
    ) -> None:
        with Reports.open(some.path) as reports:
            done, waits = reports.task(an_id(1)), reports.task(an_id(3))
            assert reports.task(an_id(99)) is None
        assert done is not None
        assert done["result"] == "results/noop-1.result"
        assert (done["started_at"], done["ended_at"]) == (WALL, WALL + 2.5)
        assert done["attempts"][0]["outcome"] == "success"
        assert waits is not None
        assert waits["spec"]["resources"] == {"cpus": 3, "memory_bytes": 1 << 40, "gpus": 2}
        assert waits["spec"]["files"]["inputs"][0]["name"] == "a/b"
        assert waits["started_at"] is None

    def test_a_running_task_says_where_since_when(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            task = reports.task(an_id(2))
        assert task is not None
        assert (task["agent"], task["host"], task["started_at"]) == ("local", 'ho"st', WALL)
        assert task["ended_at"] is None

    def test_the_tasks_that_ended_last_come_first(self, some: Journal) -> None:
        run_to_the_end(some, a_task(9, box="fold"), wall=WALL + 50)
        some.note_result_pruned(an_id(9))
        with Reports.open(some.path) as reports:
            assert [task["seq"] for task in reports.recent(limit=1)] == [9]
            assert {task["seq"] for task in reports.recent(box="fold")} == {4, 9}

    def test_the_files_of_every_task_are_named(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            rows = {row.id: row for row in reports.files()}
        assert rows[an_id(1)].path == f"00/{an_id(1)}~~noop-1.task"
        assert not rows[an_id(1)].is_open
        assert rows[an_id(3)].inputs == ("c" * 64, "e" * 64, "f" * 64)
        assert rows[an_id(3)].is_open

    def test_a_whole_journal_has_nothing_to_complain_of(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            assert reports.integrity() == ""


class TestNames:
    def test_a_task_is_found_by_id_its_beginning_key_or_name(self, some: Journal) -> None:
        with Reports.open(some.path) as reports:
            assert reports.resolve(an_id(3)) == [an_id(3)]
            assert reports.resolve(an_id(3)[:12]) == [an_id(3)]
            assert len(reports.resolve(an_id(3)[:8])) == 4
            assert reports.resolve("fold/17") == [an_id(3)]
            assert reports.resolve("three") == [an_id(3)]
            assert reports.resolve("noop-2") == [an_id(2)]
            assert reports.resolve("nobody") == []

    def test_a_name_that_several_have_gives_all_the_newest_first(self, some: Journal) -> None:
        commit(some, submitted(a_task(7, spec=Spec(name="three"))))
        with Reports.open(some.path) as reports:
            assert reports.resolve("three") == [an_id(7), an_id(3)]

    def test_a_name_that_looks_like_an_id_is_still_a_name(self, some: Journal) -> None:
        commit(some, submitted(a_task(7, spec=Spec(name="beef"))))
        with Reports.open(some.path) as reports:
            assert reports.resolve("beef") == [an_id(7)]


class TestStories:
    def test_a_story_tells_each_step_in_a_sentence(self, journal: Journal) -> None:
        run_to_the_end(journal, a_task(1))
        with Reports.open(journal.path) as reports:
            story = reports.story(an_id(1))
        assert [(event["event"], event["text"]) for event in story] == [
            ("submitted", ""),
            ("assigned", "attempt 1 to local"),
            ("reported", "attempt 1 succeeded after 2.5 s on node17"),
            ("delivered", ""),
        ]
        assert all(event["at"] == WALL for event in story)
        assert story[-1]["state"] == "done"

    def test_a_loss_is_told_with_its_reason(self, journal: Journal) -> None:
        task = a_task(1)
        commit(journal, submitted(task))
        commit(journal, assigned(task))
        commit(journal, lost(running(task)))
        with Reports.open(journal.path) as reports:
            story = reports.story(an_id(1))
        assert story[-1]["text"] == "attempt 1 was lost (vanished) on node17: killed"

    def test_an_unknown_task_has_no_story(self, journal: Journal) -> None:
        with Reports.open(journal.path) as reports:
            assert reports.story(an_id(9)) == []


def test_attempts_are_summed_for_each_agent_and_host(journal: Journal) -> None:
    task = a_task(1, history=(a_failure(1), a_ran(2), a_ran(3, host="other", agent="ssh")))
    commit(journal, submitted(task), submitted(replace(a_task(2), history=(a_ran(1),))))
    with Reports.open(journal.path) as reports:
        stats = {(row["agent"], row["host"]): row for row in reports.stats()}
    here = stats["local", "node17"]
    assert (here["attempts"], here["succeeded"], here["failed"], here["lost"]) == (3, 2, 1, 0)
    assert (here["wall_s"], here["cpu_s"]) == (7.5, 4.5)
    assert stats["ssh", "other"]["attempts"] == 1


def _as_another_user(path: Path) -> str:
    """What a user who may read, but not write, is told of the running tasks."""
    for folder in (path.parent, *path.parent.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    for name in os.listdir(path.parent):
        (path.parent / name).chmod(0o644)
    path.parent.chmod(0o755)

    def told() -> str:
        with Reports.open(path) as reports:
            return f"{reports.counts()['running']} running"

    return said_by(12345, told)
