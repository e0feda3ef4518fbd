"""The journal gives back what was committed, whole, in order, and nothing else."""

from __future__ import annotations

import os
import signal
import sqlite3
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoolmw.errors import JournalCorrupt, JournalLost
from spoolmw.model.attempt import Blame, Cause, Outcome, Saved
from spoolmw.model.events import (
    Brought,
    Cancelled,
    Checkpointed,
    Delivered,
    Held,
    NameTaken,
    Released,
    Reprioritised,
    Resumed,
    Retried,
    Started,
    TwinEnded,
)
from spoolmw.model.ids import AttemptId
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.ballot import opened
from spoolmw.store.journal import Changed, Journal
from spoolmw.store.rows import STATES
from tests.unit.store.builders import (
    BOOT,
    WALL,
    a_failure,
    a_full_ballot,
    a_full_spec,
    a_lease,
    a_ran,
    a_task,
    an_ending,
    an_id,
    assigned,
    commit,
    delivered,
    done,
    happened,
    lost,
    reported,
    run_to_the_end,
    running,
    submitted,
)


def reopened(journal: Journal) -> Journal:
    """The journal as the next start finds it."""
    journal.close()
    return Journal.open(journal.path)


def a_task_in(state: TaskState) -> Task:
    """A task in which every field differs from its default."""
    task = a_task(
        7,
        box="my box",
        result_name="another name",
        spec=a_full_spec(),
        priority=3,
        state=state,
        attempt=2,
        failures=1,
        losses=2,
        not_before=17.25,
        memory_bytes=12345,
        history=(a_failure(1), a_ran(2)),
        twin_of=an_id(1),
        saved=Saved(2, 17, WALL + 0.25, 1 << 40),
        since=2,
    )
    if state is TaskState.RUNNING:
        return replace(task, lease=a_lease())
    if state is TaskState.VALIDATING:
        return replace(task, ballot=a_full_ballot(task))
    if state in FINAL or state is TaskState.DELIVERING:
        final = state if state in FINAL else TaskState.FAILED
        ending = an_ending(
            final,
            cause=Cause.MEMORY,
            blame=Blame.TASK,
            message='it said "no"\n',
            staged=AttemptId(task.id, 0, 2),
            files=True,
            copy_of=an_id(1),
        )
        return replace(task, ending=ending)
    return task


class TestRoundTrip:
    @pytest.mark.parametrize("state", STATES)
    def test_every_field_of_a_task_comes_back(self, journal: Journal, state: TaskState) -> None:
        task = a_task_in(state)
        assert set(STATES) == set(TaskState)
        commit(journal, submitted(task))
        assert journal.get(task.id) == task

    @pytest.mark.parametrize("state", STATES)
    def test_every_field_that_can_change_is_updated(
        self, journal: Journal, state: TaskState
    ) -> None:
        after = a_task_in(state)
        before = a_task(7, box="my box", spec=after.spec)
        if after.ballot is not None:  # a task has a vote from its beginning on
            before = replace(before, ballot=opened(after.id, after.spec.redundancy))
        commit(journal, submitted(before), Changed(before, after, ()))
        assert journal.get(after.id) == after

    @pytest.mark.parametrize(
        "field",
        ["priority", "attempt", "failures", "losses", "not_before", "memory_bytes", "since"],
    )
    def test_each_number_alone_is_updated(self, journal: Journal, field: str) -> None:
        before = a_task()
        changed: dict[str, Any] = {field: 5}
        after = replace(before, **changed)
        commit(journal, submitted(before))
        commit(journal, Changed(before, after, ()))
        assert journal.get(after.id) == after

    def test_a_new_checkpoint_alone_is_updated(self, journal: Journal) -> None:
        before = running(a_task())
        after = replace(before, saved=Saved(1, 1, WALL, 5))
        commit(journal, submitted(before))
        commit(journal, Changed(before, after, ()))
        assert journal.get(after.id) == after

    def test_a_default_task_comes_back_with_shared_sections(self, journal: Journal) -> None:
        commit(journal, *(submitted(a_task(n)) for n in (1, 2)))
        first, second = journal.load()
        assert first == a_task(1)
        assert first.spec.run is second.spec.run
        assert first.spec.place is second.spec.place

    @settings(
        max_examples=60,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        deadline=None,
    )
    @given(
        message=st.text(max_size=40),
        numbers=st.lists(
            st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3
        ),
        exit_code=st.none() | st.integers(-(2**31), 2**31),
    )
    def test_any_message_and_any_number_comes_back(
        self, journal: Journal, message: str, numbers: list[float], exit_code: int | None
    ) -> None:
        ran = a_failure(
            1,
            message=message,
            host=message,
            slot=message,
            started_at=numbers[0],
            ended_at=numbers[1],
            cpu_s=numbers[2],
            exit_code=exit_code,
        )
        task = a_task(journal.next_seq, history=(ran,))
        journal.next_seq += 1
        commit(journal, submitted(task))
        assert journal.get(task.id) == task


class TestCommit:
    def test_one_tick_may_accept_assign_report_and_deliver(self, journal: Journal) -> None:
        first, second, third = (a_task(n) for n in (1, 2, 3))
        commit(journal, submitted(first), submitted(second))
        commit(journal, assigned(first), submitted(third))
        commit(journal, reported(running(first)), assigned(second))
        states = {task.seq: task.state for task in journal.load()}
        assert states == {
            1: TaskState.DELIVERING,
            2: TaskState.RUNNING,
            3: TaskState.QUEUED,
        }

    def test_final_tasks_are_not_loaded_but_can_be_asked_for(self, journal: Journal) -> None:
        ended = run_to_the_end(journal, a_task(1))
        commit(journal, submitted(a_task(2)))
        assert [task.seq for task in journal.load()] == [2]
        assert journal.get(ended.id) == ended
        assert journal.get(an_id(99)) is None

    def test_a_failed_commit_changes_nothing(self, journal: Journal) -> None:
        commit(journal, submitted(a_task(1)))
        with pytest.raises(JournalCorrupt, match="breaks a rule"):
            commit(journal, submitted(a_task(2)), submitted(a_task(1, seq=9)))
        assert [task.seq for task in journal.load()] == [1]
        commit(journal, submitted(a_task(2)))
        assert [task.seq for task in journal.load()] == [1, 2]

    def test_an_empty_tick_is_allowed(self, journal: Journal) -> None:
        commit(journal)

    @pytest.mark.parametrize(
        "broken",
        [
            {"state": TaskState.RUNNING, "attempt": 1},
            {"state": TaskState.QUEUED, "lease": a_lease()},
            {"state": TaskState.DONE},
            {"state": TaskState.QUEUED, "ending": an_ending()},
            {"state": TaskState.WAITING},
            {"state": TaskState.RUNNING, "lease": a_lease(), "attempt": 0},
        ],
    )
    def test_a_record_that_contradicts_itself_is_refused_by_the_schema(
        self, journal: Journal, broken: dict[str, Any]
    ) -> None:
        with pytest.raises(JournalCorrupt, match="breaks a rule"):
            commit(journal, submitted(a_task(1, **broken)))
        assert journal.load() == []

    def test_numbers_go_on_after_a_restart(self, journal: Journal) -> None:
        assert journal.next_seq == 1
        commit(journal, submitted(a_task(41)))
        assert reopened(journal).next_seq == 42

    def test_every_kind_of_event_can_be_written(self, journal: Journal) -> None:
        task = a_task()
        for change in (submitted(task), assigned(task), lost(running(task))):
            commit(journal, change)
        commit(
            journal,
            happened(
                Started(at=1.0, attempt=AttemptId(task.id, 0, 1), started_at=WALL, host="h"),
                TwinEnded(at=1.0, first=a_task(2), copied=True),
                Resumed(at=1.0, attempt=AttemptId(task.id, 0, 1), message="1-2 is damaged"),
                Resumed(at=1.0, attempt=AttemptId(task.id, 0, 1), saved=Saved(1, 2, WALL, 5)),
                Checkpointed(
                    at=1.0,
                    attempt=AttemptId(task.id, 0, 1),
                    sequence=2,
                    size_bytes=5,
                    saved_at=WALL,
                ),
                Brought(at=1.0, saved=Saved(1, 2, WALL, 5), by="ann"),
                Cancelled(at=1.0, by="ann"),
                Held(at=1.0, by='"\n'),
                Released(at=1.0),
                Reprioritised(at=1.0, priority=3),
                Retried(at=1.0, result_name="x"),
                Retried(at=1.0, result_name="x", fresh=True),
                NameTaken(at=1.0, result_name="y"),
                Delivered(at=1.0),
                task=task,
            ),
        )


class TestKeys:
    def test_a_key_means_the_first_task_that_was_not_failed(self, journal: Journal) -> None:
        def with_key(number: int, state: TaskState) -> Task:
            return a_task(
                number,
                spec=Spec(name="x", key="k"),
                state=state,
                ending=an_ending(state) if state in FINAL else None,
            )

        assert journal.by_key("k") is None
        commit(journal, submitted(with_key(1, TaskState.FAILED)))
        assert journal.by_key("k") == with_key(1, TaskState.FAILED)
        commit(journal, submitted(with_key(2, TaskState.DONE)))
        commit(journal, submitted(with_key(3, TaskState.QUEUED)))
        assert journal.by_key("k") == with_key(2, TaskState.DONE)

    def test_no_key_is_no_key(self, journal: Journal) -> None:
        commit(journal, submitted(a_task()))
        assert journal.by_key("") is None


class TestTime:
    def test_a_backoff_continues_on_the_next_boots_clock(self, journal: Journal) -> None:
        waits = a_task(1, not_before=160.0)
        over = a_task(2, not_before=90.0)
        journal.commit([submitted(waits), submitted(over), submitted(a_task(3))], **BOOT)
        later = reopened(journal)
        found = later.load(now_boot=5.0, boot_id="second boot")
        assert [task.not_before for task in found] == [65.0, 5.0, 0.0]
        later.commit([], now_boot=6.0, boot_id="second boot")
        later.close()
        again = Journal.open(journal.path)
        assert again.load(now_boot=8.0, boot_id="second boot")[0].not_before == 65.0
        again.close()

    def test_a_start_that_ends_before_its_first_commit_changes_nothing(
        self, journal: Journal
    ) -> None:
        journal.commit([submitted(a_task(1, not_before=160.0))], **BOOT)
        for clock in (5.0, 7.0):
            journal = reopened(journal)
            found = journal.load(now_boot=clock, boot_id="second boot")
            assert found[0].not_before == 60.0 + clock

    def test_within_one_boot_it_stays(self, journal: Journal) -> None:
        journal.commit([submitted(a_task(1, not_before=160.0))], **BOOT)
        found = reopened(journal).load(now_boot=120.0, boot_id="first boot")
        assert found[0].not_before == 160.0

    def test_the_machines_own_boot_is_the_default(self, journal: Journal) -> None:
        journal.commit([submitted(a_task(1, not_before=160.0))], **BOOT)
        assert journal.load()[0].not_before > 60.0


class TestUpkeep:
    def test_ended_tasks_are_found_by_age_and_results_only_once(self, journal: Journal) -> None:
        old = run_to_the_end(journal, a_task(1), wall=WALL)
        run_to_the_end(journal, a_task(2), wall=WALL + 100)
        commit(journal, submitted(a_task(3)))
        before = WALL + 50
        assert journal.ended_before(before, limit=10, with_results=True) == [old]
        journal.note_result_pruned(old.id)
        assert journal.ended_before(before, limit=10, with_results=True) == []
        assert journal.ended_before(before, limit=10, with_results=False) == [old]
        assert journal.ended_before(WALL + 200, limit=1, with_results=False) == [old]

    def test_forgetting_takes_the_story_too_and_never_an_open_task(
        self, journal: Journal
    ) -> None:
        ended = run_to_the_end(journal, a_task(1))
        commit(journal, submitted(a_task(2)))
        journal.forget([ended.id, an_id(2), an_id(99)])
        assert journal.get(ended.id) is None
        assert journal.get(an_id(2)) is not None
        raw = sqlite3.connect(f"file:{journal.path}?mode=ro", uri=True)
        assert raw.execute("SELECT DISTINCT task FROM events").fetchall() == [(2,)]
        raw.close()

    def test_only_failed_and_cancelled_tasks_with_inputs_keep_them(
        self, journal: Journal
    ) -> None:
        def ended(number: int, state: TaskState, spec: Spec) -> Changed:
            return submitted(a_task(number, state=state, ending=an_ending(state), spec=spec))

        commit(
            journal,
            ended(1, TaskState.FAILED, a_full_spec()),
            ended(2, TaskState.CANCELLED, a_full_spec()),
            ended(3, TaskState.DONE, a_full_spec()),
            ended(4, TaskState.FAILED, Spec(name="x")),
            submitted(a_task(5, spec=a_full_spec())),
        )
        assert [task.seq for task in journal.retryable()] == [1, 2]

    def test_a_retried_task_is_open_again(self, journal: Journal) -> None:
        ended = run_to_the_end(journal, a_task(1))
        journal.note_result_pruned(ended.id)
        again = replace(ended, state=TaskState.QUEUED, ending=None, result_name="noop-1.2")
        commit(journal, Changed(ended, again, (Retried(at=1.0, result_name="noop-1.2"),)))
        assert journal.load() == [again]

    def test_ended_tasks_are_counted(self, journal: Journal) -> None:
        run_to_the_end(journal, a_task(1))
        run_to_the_end(journal, a_task(2))
        assert journal.ended_counts() == {"done": 2}

    def test_settings_are_kept(self, journal: Journal) -> None:
        assert journal.get_meta("dispatch") is None
        journal.set_meta("dispatch", "{}")
        journal.set_meta("dispatch", '{"paused": true}')
        assert reopened(journal).get_meta("dispatch") == '{"paused": true}'


class TestDurability:
    def test_what_was_committed_survives_a_kill(self, path: Path) -> None:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            journal = Journal.open(path)
            commit(journal, submitted(a_task(1)))
            journal._conn.execute("BEGIN IMMEDIATE")
            journal._conn.execute("DELETE FROM tasks")
            os.write(write, b"x")
            signal.pause()
        os.read(read, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        journal = Journal.open(path)
        assert journal.load() == [a_task(1)]
        journal.close()

    def test_every_commit_is_synced(self, journal: Journal) -> None:
        assert journal._conn.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    @pytest.mark.parametrize("suffix", ["", "-wal"])
    def test_a_journal_moved_away_under_the_daemon_is_noticed(
        self, journal: Journal, suffix: str
    ) -> None:
        commit(journal, submitted(a_task(1)))
        os.rename(f"{journal.path}{suffix}", f"{journal.path}{suffix}.moved")
        with pytest.raises(JournalLost, match="moved or removed"):
            commit(journal, submitted(a_task(2)))

    def test_one_replaced_by_another_file_is_noticed(self, journal: Journal) -> None:
        os.rename(journal.path, f"{journal.path}.moved")
        journal.path.write_bytes(Path(f"{journal.path}.moved").read_bytes())
        with pytest.raises(JournalLost, match="another file"):
            commit(journal, submitted(a_task(1)))


def test_every_field_of_the_model_has_a_place_in_the_journal() -> None:
    """A new field must be stored, or a restart forgets it: then extend `a_task_in` too.

    `waits` and `predecessors` are looked at in `test_after.py`, ballots in `test_votes.py`.
    """
    assert len(fields(Task)) == 26
    assert {field.name for field in fields(Task)} >= {"lease", "ending", "history", "twin_of"}
    assert {outcome.value for outcome in Outcome} == {"success", "error", "lost", "stopped"}
    assert done(a_task()).state is TaskState.DONE
    assert delivered(a_task()).after.state is TaskState.DONE
