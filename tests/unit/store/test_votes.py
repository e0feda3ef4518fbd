"""A vote, its replicas and the hosts' records come back as they were, and only changes are written."""

from __future__ import annotations

import sqlite3
from dataclasses import fields, replace
from typing import Any

import pytest

from spoolmw.errors import JournalCorrupt
from spoolmw.model.events import Started
from spoolmw.model.host import HostRecord
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Phase, Replica, ReplicaState
from spoolmw.model.spec import Spec
from spoolmw.model.task import Task, TaskState
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
)
from spoolmw.store.journal import Changed, Journal
from spoolmw.store.newboot import SHIFTS
from spoolmw.store.reports import Reports
from spoolmw.store.texts import ending_of, ending_text
from tests.unit.rules.ballots import a_class, a_loss, a_placement, a_success, an_id
from tests.unit.rules.builders import NOW
from tests.unit.rules.test_redundant import AGREED
from tests.unit.store.builders import (
    BOOT,
    WALL,
    a_full_ballot,
    a_ran,
    a_reported_replica,
    a_running_replica,
    a_task,
    an_ending,
    commit,
    run_to_the_end,
    submitted,
)

WISH = Redundancy(quorum=2, target=2)


def a_task_with_votes(number: int = 1, **changes: Any) -> Task:
    """One that wants two replicas to agree; both wait."""
    task = a_task(number, spec=Spec(name="fold", redundancy=WISH), **changes)
    replicas = tuple(Replica(task=task.id, number=each) for each in (0, 1))
    return replace(task, ballot=Ballot(task=task.id, wish=WISH, replicas=replicas))


def with_replica(task: Task, replica: Replica) -> Task:
    assert task.ballot is not None
    replicas = list(task.ballot.replicas)
    replicas[replica.number] = replica
    return replace(task, ballot=replace(task.ballot, replicas=tuple(replicas)))


def rows(journal: Journal, table: str) -> int:
    conn = sqlite3.connect(journal.path)
    count = conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    conn.close()
    return int(count)


def written(journal: Journal, before: Task, after: Task) -> list[str]:
    """The statements on replicas that a commit of this change runs."""
    found: list[str] = []
    journal._conn.set_trace_callback(found.append)
    commit(journal, Changed(before, after, ()))
    journal._conn.set_trace_callback(None)
    return [text.split("\n")[0].strip() for text in found if "replicas" in text]


class TestRoundTrip:
    def test_a_ballot_comes_back_with_every_field_of_it(self, journal: Journal) -> None:
        task = a_task_with_votes()
        task = replace(task, state=TaskState.VALIDATING, ballot=a_full_ballot(task))
        commit(journal, submitted(task))
        assert journal.get(task.id) == task
        assert journal.load(boot_id=BOOT["boot_id"]) == [task]

    def test_no_field_of_a_ballot_or_replica_is_without_a_place(self) -> None:
        """A new field must be stored: then extend `a_full_ballot` too."""
        ballot = a_full_ballot(a_task())
        blank = Ballot(task=ballot.task, wish=ballot.wish)
        same = [
            f.name for f in fields(Ballot) if getattr(ballot, f.name) == getattr(blank, f.name)
        ]
        assert same == ["task", "wish", "retry"]
        new = Replica(task=ballot.task, number=9)
        for field in fields(Replica):
            found = {getattr(each, field.name) for each in ballot.replicas[:2]}
            assert field.name == "task" or found != {getattr(new, field.name)}, field.name

    def test_what_no_trusted_agent_has_or_left_stays_marked(self, journal: Journal) -> None:
        task = a_task_with_votes()
        replica = a_running_replica(task)
        assert replica.lease is not None
        history = tuple(
            replace(ran, trusted=False, token=token)
            for ran, token in ((a_ran(1), ""), (a_ran(2), "a" * 32))
        )
        lease = replace(replica.lease, trusted=False)
        task = with_replica(task, replace(replica, lease=lease, history=history))
        task = replace(task, state=TaskState.RUNNING)
        commit(journal, submitted(task))
        assert journal.get(task.id) == task
        ending = an_ending(staged=task.attempt_id, trusted=False)
        assert ending_of(str(ending_text(ending))) == ending

    def test_an_attempt_that_may_yet_report_can_prove_itself_after_a_restart(
        self, journal: Journal
    ) -> None:
        task = a_task_with_votes()
        task = with_replica(task, a_running_replica(task))
        task = replace(task, state=TaskState.RUNNING)
        commit(journal, submitted(task))
        [found] = journal.load()
        assert found.ballot is not None
        assert found.ballot.replicas[0].history[0].token == "a" * 32

    def test_a_task_without_redundancy_has_neither(self, journal: Journal) -> None:
        run_to_the_end(journal, a_task())
        assert rows(journal, "replicas") == 0
        assert rows(journal, "hosts") == 0


class TestCommit:
    def test_only_the_replica_that_changed_is_written(self, journal: Journal) -> None:
        before = a_task_with_votes()
        commit(journal, submitted(before))
        after = replace(
            with_replica(before, a_running_replica(before, 1)), state=TaskState.RUNNING
        )
        assert written(journal, before, after) == ["INSERT OR REPLACE INTO replicas VALUES ("]
        assert journal.get(after.id) == after

    def test_a_new_vote_with_fewer_replicas_leaves_none_behind(self, journal: Journal) -> None:
        before = replace(a_task_with_votes(), state=TaskState.HELD)
        commit(journal, submitted(before))
        assert before.ballot is not None
        one = replace(before.ballot, replicas=(Replica(task=before.id, number=0, attempt=3),))
        after = replace(before, ballot=one)
        commit(journal, Changed(before, after, ()))
        assert journal.get(after.id) == after
        assert rows(journal, "replicas") == 1

    def test_what_does_not_concern_the_vote_writes_no_replica(self, journal: Journal) -> None:
        before = a_task_with_votes()
        commit(journal, submitted(before))
        assert written(journal, before, replace(before, priority=3)) == []

    def test_a_vote_that_changed_alone_is_written(self, journal: Journal) -> None:
        before = a_task_with_votes()
        commit(journal, submitted(before))
        assert before.ballot is not None
        after = replace(before, ballot=replace(before.ballot, extra=1))
        commit(journal, Changed(before, after, ()))
        assert journal.get(after.id) == after

    @pytest.mark.parametrize(
        "broken",
        [
            {"state": ReplicaState.RUNNING, "lease": None},
            {"state": ReplicaState.PENDING},
            {"state": ReplicaState.REPORTED, "lease": None, "staged": None},
        ],
    )
    def test_a_replica_that_contradicts_itself_is_refused(
        self, journal: Journal, broken: dict[str, Any]
    ) -> None:
        task = a_task_with_votes()
        wrong = with_replica(task, a_running_replica(task, **broken))
        with pytest.raises(JournalCorrupt, match="breaks a rule"):
            commit(journal, submitted(wrong))
        assert journal.load() == []

    def test_only_a_task_with_a_vote_validates_or_runs_without_a_lease(
        self, journal: Journal
    ) -> None:
        for state in (TaskState.RUNNING, TaskState.VALIDATING):
            with pytest.raises(JournalCorrupt, match="breaks a rule"):
                commit(journal, submitted(a_task(state=state)))

    def test_a_forgotten_task_takes_its_replicas_with_it(self, journal: Journal) -> None:
        task = a_task_with_votes()
        ended = replace(task, state=TaskState.FAILED, ending=an_ending(TaskState.FAILED))
        commit(journal, submitted(ended), submitted(a_task_with_votes(2)))
        journal.forget([ended.id])
        assert rows(journal, "replicas") == 2
        assert [each.seq for each in journal.load()] == [2]

    def test_a_failed_vote_is_among_what_may_be_taken_up_again(self, journal: Journal) -> None:
        ending = an_ending(TaskState.FAILED)
        ended = replace(a_task_with_votes(), state=TaskState.FAILED, ending=ending)
        assert ended.ballot is not None
        ended = replace(ended, ballot=replace(ended.ballot, phase=Phase.GIVEN_UP))
        plain = replace(a_task(2), state=TaskState.FAILED, ending=ending)
        commit(journal, submitted(ended), submitted(plain))
        assert journal.retryable() == [ended]


class TestHosts:
    FULL = HostRecord(
        machine="m" * 32,
        name="pc01",
        valid=1,
        invalid=2,
        errors=3,
        alone=4,
        consecutive_valid=5,
        last_seen=WALL,
        recent=0b101,
        recent_count=7,
        paused="three of five",
        paused_by_hand=True,
        probe_at=WALL + 1,
        pauses=8,
    )

    def test_a_record_comes_back_with_every_field_of_it(self, journal: Journal) -> None:
        journal.commit([], hosts=[self.FULL], **BOOT)
        assert journal.hosts() == [self.FULL]

    def test_a_record_is_replaced_by_the_next_of_its_machine(self, journal: Journal) -> None:
        journal.commit([], hosts=[self.FULL], **BOOT)
        other = replace(self.FULL, machine="n" * 32, name="a")
        later = replace(self.FULL, valid=9)
        journal.commit([], hosts=[later, other], **BOOT)
        assert journal.hosts() == [other, later]

    def test_a_commit_that_fails_leaves_the_records_too(self, journal: Journal) -> None:
        commit(journal, submitted(a_task(1)))
        with pytest.raises(JournalCorrupt):
            journal.commit([submitted(a_task(1, seq=9))], hosts=[self.FULL], **BOOT)
        assert journal.hosts() == []


def test_after_a_new_boot_what_remained_goes_on(journal: Journal) -> None:
    task = a_task_with_votes()
    task = replace(task, state=TaskState.VALIDATING, ballot=a_full_ballot(task))
    commit(journal, submitted(task))
    assert len(SHIFTS) == 3
    [found] = journal.load(now_boot=7.0, boot_id="second boot")
    assert found.ballot is not None
    first, second, _ = found.ballot.replicas
    assert (first.until, first.not_before) == (207.25, 27.5)
    assert (second.until, second.not_before) == (0.0, 0.0)
    assert found.ballot.judge_after == 157.5
    journal.commit([submitted(a_task(2))], now_boot=8.0, boot_id="second boot")
    assert journal.get(task.id) == found


def test_a_result_that_was_reported_is_found_by_its_attempt(journal: Journal) -> None:
    task = a_task_with_votes()
    task = with_replica(task, a_reported_replica(task, 1))
    commit(journal, submitted(task))
    assert journal.get(task.id) == task


def test_the_story_of_a_vote_says_whose_attempts_they_were(journal: Journal) -> None:
    task = replace(AGREED, seq=1)
    told = (
        a_placement(1),
        Started(at=NOW, attempt=an_id(1), started_at=WALL, host="pc01"),
        DeadlinePassed(at=NOW, attempt=an_id(1)),
        a_loss(1),
        a_success(0),
        Judged(
            at=NOW,
            round=1,
            classes=(a_class(0, 1, 2), a_class(3)),
            unfit=((4, "its result file is missing"),),
        ),
        JudgingFailed(at=NOW, round=2, message="exit status 3", transient=True),
        Accepted(at=NOW, replica=0, by="me"),
        Granted(at=NOW, replicas=2, by="me"),
        GivenUp(at=NOW, by="me"),
    )
    commit(journal, Changed(None, task, told))
    with Reports.open(journal.path) as reports:
        assert [each["text"] for each in reports.story(task.id)] == [
            "replica 1, attempt 1 to local on pc01",
            "replica 1, attempt 1 runs on pc01",
            "replica 1, attempt 1 has not reported in time",
            "replica 1, attempt 1 was lost (vanished): signal 9",
            "replica 0, attempt 1 succeeded",
            "replicas 0, 1 and 2 agree; replica 3 stands alone;"
            " replica 4 returned no result: its result file is missing",
            "the comparison came to nothing: exit status 3; it may be tried again",
            "the result of replica 0 by me",
            "2 replicas more by me",
            "by me",
        ]


def test_what_is_shown_of_a_vote_has_all_its_attempts_and_no_token(journal: Journal) -> None:
    task = a_task_with_votes()
    task = with_replica(task, a_running_replica(task, 1))
    commit(journal, submitted(replace(task, state=TaskState.RUNNING)))
    with Reports.open(journal.path) as reports:
        record = reports.task(task.id)
    assert record is not None
    assert [(each["replica"], each["attempt"]) for each in record["attempts"]] == [(1, 1)]
    assert [each["state"] for each in record["votes"]["replicas"]] == ["pending", "running"]
    assert (record["agent"], record["attempt"]) == ("local", 2)
    assert "a" * 32 not in str(record)
