"""The order of deadlines: each is told once, and only of an attempt that still runs."""

from __future__ import annotations

from dataclasses import replace

from spoolmw.daemon.deadlines import Deadlines
from spoolmw.model.replica import Replica, ReplicaState
from tests.unit.rules.ballots import a_running_replica, an_id


def a_replica_until(until: float, number: int = 0) -> Replica:
    return a_running_replica(number=number, until=until)


def test_the_next_deadline_is_the_earliest() -> None:
    deadlines = Deadlines()
    assert deadlines.next_due() is None
    deadlines.follow(None, a_replica_until(20.0, 0))
    deadlines.follow(None, a_replica_until(10.0, 1))
    assert deadlines.next_due() == 10.0
    assert deadlines.due(9.9) == []
    assert deadlines.due(20.0) == [an_id(1), an_id(0)]
    assert deadlines.next_due() is None


def test_an_attempt_that_ended_has_no_deadline_any_more() -> None:
    deadlines, running = Deadlines(), a_replica_until(10.0)
    deadlines.follow(None, running)
    deadlines.follow(running, replace(running, state=ReplicaState.PENDING, lease=None))
    assert deadlines.next_due() is None
    assert deadlines.due(99.0) == []


def test_a_replica_that_is_gone_with_its_vote_has_none() -> None:
    deadlines, running = Deadlines(), a_replica_until(10.0)
    deadlines.follow(None, running)
    deadlines.follow(running, None)
    assert deadlines.due(99.0) == []


def test_the_next_attempt_has_a_deadline_of_its_own() -> None:
    deadlines, first = Deadlines(), a_replica_until(10.0)
    second = replace(first, attempt=2, until=30.0)
    deadlines.follow(None, first)
    deadlines.follow(first, second)
    assert deadlines.next_due() == 30.0
    assert deadlines.due(30.0) == [an_id(0, 2)]


def test_news_of_an_attempt_do_not_pile_up() -> None:
    deadlines, running = Deadlines(), a_replica_until(10.0)
    deadlines.follow(None, running)
    for number in range(1000):
        told = replace(running, losses=number)
        deadlines.follow(running, told)
        running = told
    assert len(deadlines._order) == 1


def test_what_is_overdue_already_or_has_no_deadline_is_not_told() -> None:
    deadlines = Deadlines()
    deadlines.follow(None, replace(a_replica_until(10.0), overdue=True))
    deadlines.follow(None, a_replica_until(0.0, 1))
    assert deadlines.due(99.0) == []
