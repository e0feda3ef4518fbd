"""How a ballot changes in small, and how it ends: verdicts for the results, marks for the hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from spoolmw.model.attempt import Blame, Outcome
from spoolmw.model.effects import Discard, Judge, StartReplica, Stop, Trim
from spoolmw.model.host import Mark
from spoolmw.model.ids import AttemptId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Phase, Replica, ReplicaState, Verdict
from spoolmw.model.voting import Dropped, Sentenced
from spoolmw.rules import history as past
from spoolmw.rules import replica as one
from spoolmw.rules.quorum import Agreed

Effect = StartReplica | Stop | Discard | Trim | Judge
Marks = tuple[tuple[int, Mark], ...]

ENDED: Final = frozenset({Phase.AGREED, Phase.GIVEN_UP, Phase.WITHDRAWN})
_OF_VERDICT: Final = {Verdict.VALID: Mark.VALID, Verdict.INVALID: Mark.INVALID}
_UNDER_WAY: Final = (ReplicaState.PENDING, ReplicaState.RUNNING)


class Step(NamedTuple):
    """What an event makes of a ballot. `marks` say of replicas' hosts what they are worth."""

    ballot: Ballot
    effects: tuple[Effect, ...] = ()
    marks: Marks = ()


def effective(ballot: Ballot) -> Redundancy:
    """The wish as it stands now: what was granted by hand added, one replica alone enough."""
    wish = ballot.wish
    if ballot.extra:
        wish = replace(
            wish, limit=wish.limit + ballot.extra, max_errors=wish.max_errors + ballot.extra
        )
    return replace(wish, quorum=1, target=1) if ballot.alone else wish


def numbers(ballot: Ballot, state: ReplicaState) -> tuple[int, ...]:
    """The replicas in `state`."""
    return tuple(each.number for each in ballot.replicas if each.state is state)


def failed(ballot: Ballot) -> tuple[Replica, ...]:
    """The replicas that gave no result that could be compared."""
    return tuple(each for each in ballot.replicas if each.state is ReplicaState.FAILED)


def failed_by_task(ballot: Ballot) -> tuple[Replica, ...]:
    """Those of them whose own end it was, and not a lost host's: BOINC's "client error"."""
    return tuple(each for each in failed(ballot) if _mark_of_failed(each) is not None)


def grown(ballot: Ballot, replicas: int) -> Ballot:
    """The ballot with so many replicas more."""
    made = len(ballot.replicas)
    new = (
        Replica(
            task=ballot.task,
            number=made + each,
            attempt=ballot.attempts,
            since=ballot.attempts + 1 if ballot.fresh else 0,
            memory_bytes=ballot.memory_bytes,
        )
        for each in range(replicas)
    )
    return replace(ballot, replicas=(*ballot.replicas, *new)) if replicas else ballot


def put(ballot: Ballot, after: Replica) -> Ballot:
    """The ballot with `after` in its replica's place."""
    before, behind = ballot.replicas[: after.number], ballot.replicas[after.number + 1 :]
    return replace(ballot, replicas=(*before, after, *behind))


def applied(
    ballot: Ballot, number: int, event: one.Event
) -> tuple[Ballot, tuple[one.Effect, ...]]:
    """The ballot after an event at one replica."""
    after, effects = one.step(ballot.replicas[number], event, ballot.retry)
    return put(ballot, after), effects


def dropped(
    ballot: Ballot, replica: Replica, why: str, at: float, *, closed: bool
) -> tuple[Ballot, tuple[one.Effect, ...]]:
    """The ballot without need of this replica."""
    return applied(ballot, replica.number, Dropped(at=at, message=why, closed=closed))


def sentenced(
    ballot: Ballot, number: int, verdict: Verdict, at: float
) -> tuple[Ballot, tuple[Effect, ...], Marks]:
    """The ballot with a verdict on one result; the file of any but the canonical one may go."""
    ballot, _ = applied(ballot, number, Sentenced(at=at, verdict=verdict))
    after = ballot.replicas[number]
    effects: tuple[Effect, ...] = ()
    if after.staged is not None and number != ballot.canonical:
        effects = (Discard(after.staged),)
    return ballot, effects, ((number, _OF_VERDICT[verdict]),)


def agree(ballot: Ballot, agreed: Agreed, at: float) -> Step:
    """The result is decided: verdicts for what is there, and what is not needed is stopped.

    Where a single result was enough nothing is proven: no verdict then says anything of a host,
    and nobody's late result is compared.
    """
    proven = effective(ballot).quorum > 1 or bool(ballot.message)  # or somebody said so by hand
    ballot = replace(ballot, phase=Phase.AGREED, canonical=agreed.canonical, asked=())
    effects: tuple[Effect, ...] = ()
    marks: Marks = ()
    verdicts = {each: Verdict.INVALID for each in agreed.invalid}
    verdicts |= {each: Verdict.VALID for each in agreed.valid}
    for number, verdict in sorted(verdicts.items()):
        ballot, more, mark = sentenced(ballot, number, verdict, at)
        effects, marks = effects + more, marks + mark
    for each in ballot.replicas:
        mark_of = _mark_of_failed(each) if each.state is ReplicaState.FAILED else None
        marks += ((each.number, mark_of),) if mark_of is not None else ()
        if each.state in _UNDER_WAY or (each.state is ReplicaState.REPORTED and not proven):
            why = "enough results agree" if proven else "one result is enough"
            ballot, stops = dropped(ballot, each, why, at, closed=not proven)
            effects += stops
        elif proven:  # what was given up may run on, and would be compared: not worth its time
            effects += past.stops(each.attempt_id, each.history)
    if not proven:
        ballot, discards = _closed(ballot)
        return Step(ballot, effects + discards, ((agreed.canonical, Mark.ALONE),))
    return Step(ballot, effects, marks)


def end(ballot: Ballot, phase: Phase, message: str, at: float, *, fault: bool = False) -> Step:
    """There will be no result. What was returned stays, unless the task is withdrawn.

    No report counts any more, and no host is marked: nobody knows who was right.
    """
    if ballot.phase in ENDED:
        return Step(ballot)
    ballot = replace(
        ballot, phase=phase, message=message, fault=fault, asked=(), judge_failures=0
    )
    effects: tuple[Effect, ...] = ()
    unneeded: tuple[ReplicaState, ...] = _UNDER_WAY
    if phase is Phase.WITHDRAWN:
        unneeded = (*_UNDER_WAY, ReplicaState.REPORTED)
    for each in ballot.replicas:
        if each.state in unneeded:
            ballot, stops = dropped(ballot, each, message, at, closed=True)
            effects += stops
    ballot, discards = _closed(ballot)
    return Step(ballot, effects + discards)


def sealed(ballot: Ballot, at: float) -> Step:
    """The result is delivered: what waits to be compared is too late for that.

    Attempts that may still report keep their tokens: their hosts' records may learn from them.
    """
    effects: tuple[Effect, ...] = ()
    ballot = replace(ballot, asked=(), judge_failures=0, judge_after=0.0)
    for each in ballot.replicas:
        if ballot.phase is Phase.AGREED and each.state is ReplicaState.REPORTED:
            why = "the result was delivered before this one could be compared"
            ballot, more = dropped(ballot, each, why, at, closed=True)
            effects += more
    return Step(ballot, effects)


def _closed(ballot: Ballot) -> tuple[Ballot, tuple[Effect, ...]]:
    """The ballot in which no report counts any more: what might have made one is stopped, and its
    files may go."""
    effects: tuple[Effect, ...] = ()
    for each in ballot.replicas:
        effects += past.stops(each.attempt_id, each.history)
        open_ones = {ran.attempt for ran in each.history if ran.token}
        if open_ones:
            ballot = put(ballot, replace(each, history=past.closed(each.history)))
            ids = (AttemptId(each.task, each.number, attempt) for attempt in sorted(open_ones))
            effects += tuple(Discard(attempt) for attempt in ids)
    return ballot, effects


def _mark_of_failed(replica: Replica) -> Mark | None:
    """What its failure says of the host, where others succeeded; None: nothing, it was lost."""
    last = replica.history[-1] if replica.history else None
    if last is None:
        return None
    if last.outcome is Outcome.SUCCESS:
        return Mark.INVALID  # it reported, and what it reported was no result
    return Mark.ERROR if last.outcome is Outcome.ERROR and last.blame is Blame.TASK else None
