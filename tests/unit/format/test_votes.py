"""What is told of a vote: to people and programs, and in the trailer of its result."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spoolmw.format.resultfile import trailer_line
from spoolmw.format.votes import class_letters, validator_text, votes_record
from spoolmw.model.redundancy import Redundancy, Validator
from spoolmw.model.replica import Ballot, Class, Phase, Replica, ReplicaState, Spot, Verdict
from spoolmw.model.task import Task
from tests.unit.format.test_resultfile import ID, a_task


def a_replica(number: int, **changes: object) -> Replica:
    """One that returned the result on which the others agreed, on the host of its number."""
    [ran] = a_task().history
    replica = Replica(
        task=ID,
        number=number,
        state=ReplicaState.VALID,
        verdict=Verdict.VALID,
        attempt=1,
        spot=Spot(machine=f"m{number}", host=f"pc{number}", owner="lab"),
        digest="d" * 64,
        history=(replace(ran, token="f" * 32),),
    )
    return replace(replica, **changes)  # type: ignore[arg-type]


def a_ballot(*replicas: Replica, **changes: object) -> Ballot:
    wish = Redundancy(quorum=2, target=3)
    ballot = Ballot(task=ID, wish=wish, replicas=replicas, phase=Phase.AGREED, canonical=0)
    return replace(ballot, **changes)  # type: ignore[arg-type]


LIAR = a_replica(2, state=ReplicaState.INVALID, verdict=Verdict.INVALID, digest="e" * 64)
BALLOT = a_ballot(
    a_replica(0), a_replica(1), LIAR, classes=(Class((0, 1), 0), Class((2,), 2)), round=1
)


def a_voted_task(ballot: Ballot = BALLOT) -> Task:
    return a_task(b"body", attempt=0, history=(), ballot=ballot)


def test_the_trailer_says_who_returned_what_and_what_came_of_it() -> None:
    trailer = json.loads(trailer_line(a_voted_task()))
    told = [(r["host"], r["class"], r["verdict"]) for r in trailer["replicas"]]
    assert told == [("pc0", "A", "valid"), ("pc1", "A", "valid"), ("pc2", "B", "invalid")]
    assert (trailer["quorum"], trailer["attempts"]) == (2, [])
    [attempt] = trailer["replicas"][2]["attempts"]
    assert (attempt["host"], attempt["seconds"]) == ("lab1", 2.375)


def test_a_task_without_redundancy_has_none_of_it() -> None:
    assert "replicas" not in json.loads(trailer_line(a_task(b"body")))


def test_a_token_is_never_shown() -> None:
    assert b"f" * 32 not in trailer_line(a_voted_task())
    assert "f" * 32 not in json.dumps(votes_record(BALLOT))


@given(st.text(), st.text())
def test_hostile_texts_stay_inside_their_quotes(message: str, host: str) -> None:
    hostile = a_replica(0, message=message, spot=Spot(machine=host, host=host))
    line = trailer_line(a_voted_task(a_ballot(hostile)))
    [told] = json.loads(line)["replicas"]
    assert line.count(b"\n") == 1
    assert (told["message"], told["host"], told["machine"]) == (message, host, host)


def test_the_twenty_seventh_class_has_a_number() -> None:
    many = tuple(Class((number,), number) for number in range(28))
    letters = class_letters(a_ballot(classes=many))
    assert [letters[number] for number in (0, 25, 26, 27)] == ["A", "Z", "27", "28"]


def test_what_was_granted_by_hand_counts_in_the_limits() -> None:
    record = votes_record(a_ballot(extra=2))
    assert (record["limit"], record["max_errors"]) == (8, 2)


def test_a_replica_that_never_ran_is_told_too() -> None:
    [told] = votes_record(a_ballot(Replica(task=ID, number=0)))["replicas"]
    assert (told["state"], told["host"], told["agent"], told["staged"]) == (
        "pending",
        "",
        "",
        None,
    )


def test_a_validator_is_told_as_a_header_has_it() -> None:
    assert validator_text(Validator()) == "exact"
    close = Validator(kind="close", rtol=1e-6, atol=0.5)
    assert validator_text(close) == "close:rtol=1e-06,atol=0.5"
    command = Validator(kind="command", command=("./cmp", "-v"))
    assert validator_text(command) == "command:./cmp -v"
