"""Ballots, replicas and what happens to them, for the tests of the rules of redundancy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from spoolmw.model.attempt import Blame, Cause, Lease, Outcome, Ran
from spoolmw.model.events import ComparedLate, Lost, Reported
from spoolmw.model.ids import AttemptId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Class, Phase, Replica, ReplicaState, Spot, Verdict
from spoolmw.model.spec import Retry
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
    Placed,
)
from spoolmw.rules.ballot import opened, step
from tests.unit.rules.builders import LOCAL, NOW, TASK, WALL, token

NO_RETRY = Retry(max=0)
BY_SIGNAL = Retry(max=2, on=("signal",))


def a_wish(quorum: int = 2, **changes: Any) -> Redundancy:
    wish = Redundancy(quorum=quorum, target=max(quorum, 1), max_errors=3)
    return replace(wish, **changes)


def a_spot(number: int = 0, **changes: Any) -> Spot:
    """The machine number so-and-so, pc00 and on."""
    spot = Spot(machine=f"machine{number}", host=f"pc{number:02}", slot="1", owner="lab")
    return replace(spot, **changes)


def a_replica(number: int = 0, **changes: Any) -> Replica:
    return Replica(task=TASK, number=number, **changes)


def a_running_replica(attempt: int = 1, number: int = 0, **changes: Any) -> Replica:
    lease = Lease(agent=LOCAL, token=token(attempt), assigned_at=WALL)
    return a_replica(
        number,
        **{
            "state": ReplicaState.RUNNING,
            "attempt": attempt,
            "lease": lease,
            "spot": a_spot(number),
            **changes,
        },
    )


def a_given_up_attempt(attempt: int = 1, **changes: Any) -> Ran:
    """An attempt that was lost without being proven dead: it may yet report."""
    ran = Ran(
        attempt=attempt,
        agent=LOCAL,
        outcome=Outcome.LOST,
        cause=Cause.CONNECTION,
        blame=Blame.HOST,
        token=token(attempt),
    )
    return replace(ran, **changes)


def an_id(replica: int = 0, attempt: int = 1) -> AttemptId:
    return AttemptId(TASK, replica, attempt)


def a_placement(replica: int = 0, attempt: int = 1, **changes: Any) -> Placed:
    placed = Placed(
        at=NOW,
        replica=replica,
        agent=LOCAL,
        token=token(attempt),
        wall=WALL,
        spot=a_spot(replica),
    )
    return replace(placed, **changes)


def a_success(replica: int = 0, attempt: int = 1, **changes: Any) -> Reported:
    report = Reported(
        at=NOW,
        attempt=an_id(replica, attempt),
        token=token(attempt),
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        body_bytes=100,
        digest="d" * 64,
        ended_at=WALL + 2,
    )
    return replace(report, **changes)


def an_error(
    replica: int = 0, attempt: int = 1, cause: Cause = Cause.EXIT, **changes: Any
) -> Reported:
    error = {"outcome": Outcome.ERROR, "cause": cause, "blame": Blame.TASK, "message": "oh"}
    return a_success(replica, attempt, **{**error, **changes})


def a_loss(replica: int = 0, attempt: int = 1, **changes: Any) -> Lost:
    lost = Lost(
        at=NOW,
        attempt=an_id(replica, attempt),
        cause=Cause.VANISHED,
        blame=Blame.HOST,
        message="signal 9",
        ended_at=WALL + 3,
    )
    return replace(lost, **changes)


#: What only concerns a vote, one of each kind.
OF_VOTES: Final = (
    Placed(at=NOW, replica=0, agent=LOCAL, token=token(1), wall=WALL, spot=Spot(machine="m")),
    DeadlinePassed(at=NOW, attempt=AttemptId(TASK, 0, 1)),
    Judged(at=NOW, round=1, classes=(Class((0, 1), 0),)),
    JudgingFailed(at=NOW, round=1, message="it died"),
    Accepted(at=NOW, replica=0, result_name="again"),
    Granted(at=NOW, replicas=1, result_name="again"),
    GivenUp(at=NOW),
    ComparedLate(at=NOW, report=a_success(0), verdict=Verdict.VALID),
)


def a_class(*members: int, near: tuple[int, ...] = ()) -> Class:
    return Class(members, members[0], near)


def a_judgement(ballot: Ballot, *classes: Class, **changes: Any) -> Judged:
    """The answer to the validation that the ballot waits for."""
    return replace(Judged(at=NOW, round=ballot.round, classes=classes), **changes)


def a_ballot(wish: Redundancy | None = None, retry: Retry = NO_RETRY) -> Ballot:
    return opened(TASK, wish if wish is not None else a_wish(), retry)


def after(ballot: Ballot, *events: Any) -> Ballot:
    for event in events:
        ballot = step(ballot, event).ballot
    return ballot


def placed(ballot: Ballot) -> Ballot:
    """The ballot with every pending replica running, each on the host of its own number."""
    for each in ballot.replicas:
        if each.state is ReplicaState.PENDING:
            ballot = after(ballot, a_placement(each.number, each.attempt + 1))
    return ballot


def all_reported(ballot: Ballot) -> Ballot:
    """The ballot with every replica's result there: a validation is under way."""
    ballot = placed(ballot)
    for each in ballot.replicas:
        if each.state is ReplicaState.RUNNING:
            ballot = after(ballot, a_success(each.number, each.attempt))
    assert ballot.phase is Phase.JUDGING
    return ballot


def states(ballot: Ballot) -> list[str]:
    return [each.state.value for each in ballot.replicas]
