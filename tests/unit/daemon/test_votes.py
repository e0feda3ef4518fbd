"""What a daemon keeps of votes over its own end: results, checkpoints, hosts' records, decisions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.agents.fake import FakeAgent
from spoolmw.daemon import fsck
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.rebuild import rebuild
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import ReplicaState
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from spoolmw.spooldir import checkpoints
from tests.unit.daemon.test_placing import Pool, a_config


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Three hosts; the helper compares results itself: what is `exact` needs no process."""
    made = Pool(tmp_path, a_config("pc01", "pc02", "pc03"))
    yield made
    made.close()


def killed(pool: Pool) -> None:
    """The daemon ends at once and starts again; what ran with it is gone."""
    pool.close()
    pool.start()
    pool.ticks(1)


def staged(pool: Pool) -> list[str]:
    """The results that lie in `stage/`, as REPLICA.ATTEMPT."""
    return sorted(name.partition(".")[2] for name in os.listdir(pool.layout.stage))


def states(pool: Pool) -> list[str]:
    return [each.state.value for each in pool.replicas()]


def failed(pool: Pool) -> None:
    """The vote is given up, after one result was there."""
    pool.finish(0)
    pool.until(lambda: pool.replicas()[0].state is ReplicaState.REPORTED)
    answer = pool.ask("adjudicate", id=pool.task().id, fail=True)
    assert isinstance(answer, dict)
    pool.until(lambda: pool.delivered("sum") and not len(pool.parts.table))
    pool.ticks()


def consumed(pool: Pool) -> None:
    (pool.layout.results / "sum.result").unlink()


def validation(pool: Pool) -> list[tuple[FakeAgent, AttemptId]]:
    """The validations that were launched, and where."""
    launched = [(host, work) for host in pool.hosts() for work in host.launched]
    return [(host, work.attempt) for host, work in launched if work.judging is not None]


# A restart


def test_what_was_reported_counts_after_a_restart_and_what_ran_runs_again(pool: Pool) -> None:
    pool.drop_vote()
    pool.finish(0)
    pool.until(lambda: pool.replicas()[0].state is ReplicaState.REPORTED)
    killed(pool)
    assert staged(pool) == ["0.1"]
    pool.until(lambda: len(pool.running()) == 1)
    first, second = pool.replicas()
    assert (first.state, second.attempt) == (ReplicaState.REPORTED, 2)
    assert second.history[0].message == "the daemon stopped while it ran"
    assert (second.losses, second.history[0].token) == (0, "")
    pool.finish(1)
    pool.until(lambda: pool.delivered("sum"))
    trailer = pool.trailer("sum")
    assert trailer["state"] == "done"
    assert [each["verdict"] for each in trailer["replicas"]] == ["valid"] * 2  # type: ignore[attr-defined]


def test_results_that_were_to_be_compared_are_compared_after_a_restart(pool: Pool) -> None:
    pool.drop_vote("sum", "redundancy.validator = 'close:rtol=0.1'")
    for number in (0, 1):
        pool.finish(number)
    pool.until(lambda: pool.task().state is TaskState.VALIDATING)
    asked = pool.task().ballot
    killed(pool)
    again = pool.task()
    assert again.state is TaskState.VALIDATING
    assert again.ballot is not None
    assert asked is not None
    assert (again.ballot.round, again.ballot.asked) == (asked.round, asked.asked)
    assert staged(pool) == ["0.1", "1.1"]
    pool.until(lambda: validation(pool))
    agent, attempt = validation(pool)[0]
    agent.judge(attempt)
    pool.until(lambda: pool.delivered("sum"))
    assert pool.trailer("sum")["state"] == "done"


def test_a_deadline_goes_on_after_a_restart(pool: Pool) -> None:
    pool.drop_vote("sum", "redundancy.deadline = '1h'")
    until = pool.replicas()[0].until
    killed(pool)
    assert until > 0
    pool.until(lambda: len(pool.running()) == 2)
    assert pool.replicas()[0].until > until


def test_the_records_of_hosts_outlive_the_daemon(pool: Pool) -> None:
    pool.drop_vote()
    for number in (0, 1):
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum"))
    known = dict(pool.parts.reactor.hosts.records)
    assert {(each.name, each.valid) for each in known.values()} == {("pc01", 1), ("pc02", 1)}
    killed(pool)
    assert dict(pool.parts.reactor.hosts.records) == known
    assert all(wall_s() - each.last_seen < 60 for each in known.values())


# A vote that was given up


def test_what_was_returned_stays_until_the_failed_task_is_pruned(pool: Pool) -> None:
    pool.drop_vote()
    failed(pool)
    assert staged(pool) == ["0.1"]
    killed(pool)
    assert staged(pool) == ["0.1"]
    assert pool.parts.housekeeping.prune_tasks(wall_s() + 1) == 1
    assert staged(pool) == []


def test_a_result_is_accepted_after_a_restart_and_delivered_under_another_name(
    pool: Pool,
) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    failed(pool)
    killed(pool)
    answer = pool.ask("adjudicate", id=task_id, accept=0)
    assert isinstance(answer, dict)
    pool.until(lambda: not len(pool.parts.table))
    assert pool.trailer("sum")["state"] == "failed"
    again = pool.trailer(f"sum.{task_id}")
    assert (again["state"], again["id"]) == ("done", task_id)
    pool.ticks()
    assert staged(pool) == []


def test_three_results_of_one_task_have_three_names(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    failed(pool)
    for _ in range(2):
        pool.ask("adjudicate", id=task_id, more=1)
        pool.until(lambda: len(pool.parts.table))
        pool.ask("adjudicate", id=task_id, fail=True)
        pool.until(lambda: not len(pool.parts.table))
    names = set(os.listdir(pool.layout.results))
    assert names == {"sum.result", f"sum.{task_id}.result", f"sum.{task_id}.2.result"}


def test_a_daemon_that_dies_between_log_and_journal_leaves_the_vote_as_it_was(
    pool: Pool,
) -> None:
    """The log of deliveries says "again", the journal says "failed": that is no older journal."""
    pool.drop_vote()
    task = pool.task()
    failed(pool)
    known = pool.parts.journal.get(task.id)
    assert known is not None
    pool.parts.reactor.intake.note_retried(known)
    killed(pool)
    found = pool.parts.journal.get(task.id)
    assert found is not None
    assert (found.state, staged(pool)) == (TaskState.FAILED, ["0.1"])


def test_a_retry_throws_away_what_was_returned_and_counts_attempts_on(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    failed(pool)
    consumed(pool)
    pool.ask("retry", ids=[task_id])
    pool.until(lambda: len(pool.running()) == 2)
    assert staged(pool) == []
    assert [each.attempt for each in pool.replicas()] == [2, 2]
    killed(pool)
    assert [each.attempt for each in pool.replicas()] == [2, 2] or pool.running()
    for number in (0, 1):
        pool.until(lambda: len(pool.running()) == 2 - number)  # noqa: B023
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum"))
    assert pool.trailer("sum")["state"] == "done"


# Checkpoints


def there(pool: Pool, task_id: str) -> list[str]:
    found = checkpoints.of_task(pool.layout, task_id)  # type: ignore[arg-type]
    return [f"{each.replica}/{each.order}" for each in found]


def test_each_replica_keeps_its_own_two_newest_checkpoints(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    for replica in pool.replicas():
        host = pool.where(replica.attempt_id)
        for sequence in (1, 2, 3):
            host.save(replica.attempt_id, sequence, b"state")
    pool.until(lambda: all(each.saved and each.saved.sequence == 3 for each in pool.replicas()))
    pool.ticks()
    assert there(pool, task_id) == ["0/1-2", "0/1-3", "1/1-2", "1/1-3"]
    killed(pool)
    assert there(pool, task_id) == ["0/1-2", "0/1-3", "1/1-2", "1/1-3"]
    assert [each.saved and each.saved.order for each in pool.replicas()] == [(1, 3)] * 2
    pool.until(lambda: len(pool.running()) == 2)
    for number in (0, 1):
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum") and not len(pool.parts.table))
    pool.ticks()
    assert there(pool, task_id) == []


def test_what_nobody_told_of_before_the_daemon_died_is_trimmed_at_the_start(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    replica = pool.replicas()[1]
    for sequence in (1, 2, 3):
        pool.where(replica.attempt_id).save(replica.attempt_id, sequence, b"state")
    killed(pool)
    assert there(pool, task_id) == ["1/1-2", "1/1-3"]


# Looking for damage


def test_a_missing_result_of_an_open_vote_is_told_of(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    pool.finish(0)
    pool.until(lambda: pool.replicas()[0].state is ReplicaState.REPORTED)
    assert fsck.check(pool.layout)["problems"] == []
    for name in os.listdir(pool.layout.stage):
        (pool.layout.stage / name).unlink()
    problems = fsck.check(pool.layout)["problems"]
    assert isinstance(problems, list)
    [problem] = problems
    assert problem.startswith(f"task {task_id} is running, but stage/{task_id}.0.1 is missing")


def test_a_failed_replica_costs_its_host_a_mark_only_where_others_succeeded(pool: Pool) -> None:
    pool.drop_vote()
    attempt = pool.replicas()[0].attempt_id
    pool.where(attempt).finish(attempt, results.failed("exit", "no", exit_code=1))
    pool.until(lambda: len(pool.running()) == 2)
    for number in pool.running():
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum"))
    records = {each.name: each for each in pool.parts.reactor.hosts.records.values()}
    assert {name: (each.valid, each.errors) for name, each in records.items()} == {
        "pc01": (0, 1),
        "pc02": (1, 0),
        "pc03": (1, 0),
    }


# Without the journal


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Pool]:
    """The same, where the first host has the name that its results say."""
    made = Pool(tmp_path, a_config(os.uname().nodename, "pc02", "pc03"))
    yield made
    made.close()


def without_journal(pool: Pool) -> None:
    """The journal is lost under a running daemon and made again from the spool."""
    pool.close()
    rebuild(pool.layout)
    pool.start()
    pool.ticks(1)


def test_a_result_whose_host_is_known_is_found_again_without_the_journal(here: Pool) -> None:
    here.drop_vote()
    here.finish(0)
    here.until(lambda: here.replicas()[0].state is ReplicaState.REPORTED)
    before = here.replicas()[0]
    without_journal(here)
    first, second = here.replicas()
    assert first.state is ReplicaState.REPORTED
    assert (first.staged, first.digest) == (before.staged, before.digest)
    assert (first.spot, first.body_bytes) == (before.spot, before.body_bytes)
    assert second.state is not ReplicaState.REPORTED
    assert staged(here) == ["0.1"]
    here.until(lambda: len(here.running()) == 1)
    here.finish(1)
    here.until(lambda: here.delivered("sum"))
    assert here.trailer("sum")["state"] == "done"


def test_nothing_is_found_again_where_an_agent_is_not_trusted(
    here: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose result it is only its header says, which a host that is anybody's can forge."""
    here.drop_vote()
    here.finish(0)
    here.until(lambda: here.replicas()[0].state is ReplicaState.REPORTED)
    room = FakeAgent.capacity
    monkeypatch.setattr(FakeAgent, "capacity", lambda self: replace(room(self), trusted=False))
    without_journal(here)
    assert staged(here) == []


def test_one_from_a_host_that_nobody_knows_is_computed_once_more(pool: Pool) -> None:
    pool.drop_vote()
    pool.finish(0)
    pool.until(lambda: pool.replicas()[0].state is ReplicaState.REPORTED)
    without_journal(pool)
    assert staged(pool) == []
    assert pool.replicas()[0].state is not ReplicaState.REPORTED


@pytest.mark.parametrize("spoilt", ["cut", "flipped", "another attempt's"])
def test_one_that_is_not_whole_is_computed_once_more(here: Pool, spoilt: str) -> None:
    here.drop_vote()
    here.finish(0, "right" * 100)
    here.until(lambda: here.replicas()[0].state is ReplicaState.REPORTED)
    path = here.layout.stage / str(here.replicas()[0].staged)
    data = bytearray(path.read_bytes())
    if spoilt == "flipped":
        data[-10] ^= 1
    path.write_bytes(data[:-1] if spoilt == "cut" else data)
    if spoilt == "another attempt's":
        path.rename(path.with_name(path.name[:-1] + "2"))
    without_journal(here)
    assert here.replicas()[0].state is not ReplicaState.REPORTED
    assert staged(here) == []


def test_a_failed_vote_without_the_journal_is_over_and_a_retry_votes_anew(pool: Pool) -> None:
    pool.drop_vote()
    task_id = pool.task().id
    failed(pool)
    without_journal(pool)
    known = pool.parts.journal.get(task_id)
    assert known is not None
    assert known.ballot is not None
    assert (known.state, staged(pool)) == (TaskState.FAILED, [])
    pool.ask("retry", ids=[task_id])
    pool.until(lambda: len(pool.running()) == 2)


def test_hosts_start_anew_without_the_journal(pool: Pool) -> None:
    pool.drop_vote()
    for number in (0, 1):
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum"))
    without_journal(pool)
    assert pool.parts.reactor.hosts.records == {}
