"""Results that come when their task is done already: they are for their hosts' records only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.daemon.clock import boot_s, wall_s
from spoolmw.daemon.gear import News
from spoolmw.daemon.latecomers import compared
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Reported
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.replica import Replica, ReplicaState, Verdict
from spoolmw.model.task import Task
from spoolmw.runner import results, safe
from spoolmw.runner.results import Ended
from tests.unit.daemon.test_placing import Pool, a_config, distrust


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path, a_config("pc01", "pc02", "pc03"))
    yield made
    made.close()


def done_but_for_one(pool: Pool) -> tuple[Task, Replica]:
    """Two of three agreed and the result is delivered; the third was told to stop, and did not."""
    pool.drop_vote("sum", "redundancy.target = 3")
    third = pool.replicas()[2]
    task = pool.task()
    for number in (0, 1):
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum") and not len(pool.parts.table))
    return task, third


def come(pool: Pool, late: Replica, value: object = "right", token: str = "") -> None:
    """The third reports after all."""
    assert late.lease is not None
    ended = Ended()
    ended.codec, ended.value = "safe", safe.parts(value)
    attempt = late.attempt_id
    size, digest = results.write(staged(pool, attempt), "sum", str(attempt), ended)
    report = Reported(
        at=boot_s(),
        attempt=attempt,
        token=token or late.lease.token,
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        body_bytes=size,
        digest=digest,
        ended_at=wall_s(),
    )
    pool.parts.inbox.put(News(AgentName(late.lease.agent), [report]))
    pool.ticks()


def staged(pool: Pool, attempt: AttemptId) -> str:
    return f"{pool.layout.stage}/{attempt}"


def record(pool: Pool, host: str = "pc03") -> tuple[int, int]:
    """How many results of a host were valid, and how many invalid."""
    records = pool.parts.reactor.hosts.records.values()
    return next(((r.valid, r.invalid) for r in records if r.name == host), (0, 0))


def third_in_the_journal(pool: Pool, task: Task) -> Replica:
    known = pool.parts.journal.get(task.id)
    assert known is not None
    assert known.ballot is not None
    return known.ballot.replicas[2]


@pytest.mark.parametrize(
    ("value", "state", "marks"),
    [("right", ReplicaState.VALID, (1, 0)), ("wrong", ReplicaState.INVALID, (0, 1))],
)
def test_a_late_result_is_held_against_the_delivered_one(
    pool: Pool, value: str, state: ReplicaState, marks: tuple[int, int]
) -> None:
    task, third = done_but_for_one(pool)
    result = (pool.layout.results / "sum.result").read_bytes()
    come(pool, third, value)
    assert record(pool) == marks
    assert third_in_the_journal(pool, task).state is state
    assert not os.path.exists(staged(pool, third.attempt_id))
    assert (pool.layout.results / "sum.result").read_bytes() == result
    come(pool, third, value)
    assert record(pool) == marks, "once"
    assert not os.path.exists(staged(pool, third.attempt_id))


def test_what_anybodys_host_says_of_its_result_is_not_believed(pool: Pool) -> None:
    distrust(pool, "pc03")
    task, third = done_but_for_one(pool)
    assert third.spot is not None
    assert third.spot.host == "pc03"
    come(pool, third, "wrong")
    assert record(pool) == (0, 0)
    assert third_in_the_journal(pool, task).state is ReplicaState.CANCELLED
    assert not os.path.exists(staged(pool, third.attempt_id))


def test_it_counts_after_a_restart_too(pool: Pool) -> None:
    task, third = done_but_for_one(pool)
    pool.close()
    pool.start()
    come(pool, third, "wrong")
    assert record(pool) == (0, 1)
    assert third_in_the_journal(pool, task).state is ReplicaState.INVALID


def test_with_a_wrong_token_or_without_the_delivered_result_it_says_nothing(pool: Pool) -> None:
    task, third = done_but_for_one(pool)
    come(pool, third, "wrong", token="f" * 32)
    (pool.layout.results / "sum.result").unlink()
    come(pool, third, "wrong")
    assert record(pool) == (0, 0)
    assert third_in_the_journal(pool, task).state is ReplicaState.CANCELLED
    assert not os.path.exists(staged(pool, third.attempt_id))


def test_under_a_name_that_another_task_has_now_it_says_nothing(pool: Pool) -> None:
    _, third = done_but_for_one(pool)
    (pool.layout.results / "sum.result").unlink()
    pool.drop("sum", "#!/bin/sh\n#SPOOLMW redundancy.quorum = 2\nfalse\n")
    pool.until(lambda: any(t.spec.name == "sum" for t in pool.parts.table))
    pool.ticks(2)
    for number in (0, 1):
        pool.finish(number, "other")
    pool.until(lambda: pool.delivered("sum") and not len(pool.parts.table))
    come(pool, third)
    assert record(pool) == (0, 0)


def test_a_report_that_is_told_again_takes_nothing_from_a_vote_that_was_given_up(
    pool: Pool,
) -> None:
    """Somebody may yet decide which of the results is right."""
    pool.drop_vote("sum", "redundancy.limit = 2")
    first, second = pool.replicas()
    pool.finish(0, "right")
    pool.finish(1, "wrong")
    pool.until(lambda: pool.delivered("sum") and not len(pool.parts.table))
    assert pool.trailer("sum")["state"] == "failed"
    come(pool, first)
    assert os.path.exists(staged(pool, first.attempt_id))
    second = replace(second, attempt=second.attempt + 1)
    come(pool, second)
    assert not os.path.exists(staged(pool, second.attempt_id))


@pytest.mark.parametrize(
    ("delivered", "late", "exactly", "verdict"),
    [
        ("safe 1", "safe 1", True, Verdict.VALID),
        ("safe 1", "safe 2", True, Verdict.INVALID),
        ("safe 1", "safe 2", False, None),  # they may be close
        ("pickle 1", "pickle 1", True, Verdict.VALID),
        ("pickle 1", "pickle 2", True, None),  # equal values may be pickled differently
        ("safe 1", "pickle 1", True, None),
        ("none", "none", True, None),
    ],
)
def test_what_two_headers_tell(
    delivered: str, late: str, exactly: bool, verdict: Verdict | None
) -> None:
    def head(told: str) -> dict[str, str]:
        codec, _, digest = told.partition(" ")
        return {"outcome": "success", "codec": codec, "sha256": digest}

    assert compared(head(delivered), head(late), exactly=exactly) is verdict
