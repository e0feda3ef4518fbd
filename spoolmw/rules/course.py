"""What a ballot asks for next: a validation, more replicas, or its end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from spoolmw.model.effects import Judge
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Class, Phase, Replica, ReplicaState
from spoolmw.rules import closing, independence, quorum
from spoolmw.rules.closing import Effect, Marks, Step, effective


def go_on(
    ballot: Ballot, at: float, effects: tuple[Effect, ...] = (), marks: Marks = ()
) -> Step:
    """Decide what the ballot, as it now stands, asks for."""
    if ballot.phase is Phase.OPEN:
        after = _ask(ballot, at) or _decide(ballot, at)
        ballot, effects, marks = (
            after.ballot,
            effects + after.effects,
            marks + after.marks,
        )
    if ballot.phase is Phase.AGREED and not ballot.asked:
        after = _ask_late(ballot)
        ballot, effects = after.ballot, effects + after.effects
    return Step(ballot, effects, marks)


def _ask(ballot: Ballot, at: float) -> Step | None:
    """A validation, where there is a new result and enough of them to agree."""
    reported = closing.numbers(ballot, ReplicaState.REPORTED)
    wish = effective(ballot)
    if wish.quorum == 1 and wish.validator.kind != "python" and reported:
        first = reported[0]
        ballot = replace(ballot, classes=(Class((first,), first),))
        return closing.agree(ballot, quorum.Agreed(first, (first,), ()), at)
    if len(reported) < wish.quorum or _judged_ones(ballot).issuperset(reported):
        return None
    ballot = replace(ballot, phase=Phase.JUDGING)
    return _asked(ballot, reported)


def _ask_late(ballot: Ballot) -> Step:
    """Results that came after the decision are compared with the canonical one."""
    late = closing.numbers(ballot, ReplicaState.REPORTED)
    if not late or ballot.canonical is None:
        return Step(ballot)
    return _asked(ballot, tuple(sorted({ballot.canonical, *late})))


def _asked(ballot: Ballot, replicas: tuple[int, ...]) -> Step:
    ballot = replace(ballot, round=ballot.round + 1, asked=replicas, judge_after=0.0)
    return Step(ballot, (order(ballot),))


def order(ballot: Ballot) -> Judge:
    """What is to be compared now."""
    return Judge(ballot.task, ballot.round, ballot.asked, ballot.judge_after)


def _decide(ballot: Ballot, at: float) -> Step:
    """What the classes found so far, and who may still vote, come to."""
    judged = _judged_ones(ballot)
    under_way = [each for each in ballot.replicas if _may_vote(each, judged)]
    wish = effective(ballot)
    decision = quorum.decide(
        wish,
        ballot.classes,
        len(under_way),
        len(ballot.replicas),
        errors=len(closing.failed_by_task(ballot)),
        voters=independence.voters(ballot),
    )
    match decision:
        case quorum.Agreed():
            return closing.agree(ballot, decision, at)
        case quorum.NeedMore() if _waits_for_trust(ballot):
            return Step(ballot)
        case quorum.NeedMore(replicas=more):
            nobody = wish.adaptive and not under_way and not ballot.classes
            return Step(closing.grown(ballot, min(more, 1) if nobody else more))
        case quorum.GiveUp():
            return closing.end(ballot, Phase.GIVEN_UP, _told(ballot, wish), at)


def _told(ballot: Ballot, wish: Redundancy) -> str:
    failed = {each.number: each.message for each in closing.failed(ballot)}
    return quorum.told(wish, ballot.classes, independence.names(ballot), failed)


def _judged_ones(ballot: Ballot) -> set[int]:
    return {number for each in ballot.classes for number in each.members}


def _may_vote(replica: Replica, judged: Collection[int]) -> bool:
    """Whether a result of it may still come, or is there and was not compared yet."""
    match replica.state:
        case ReplicaState.PENDING:
            return True
        case ReplicaState.RUNNING:
            return not replica.overdue
        case ReplicaState.REPORTED:
            return replica.number not in judged
        case _:
            return False


def _waits_for_trust(ballot: Ballot) -> bool:
    """Whether the only replica has no place yet, so that it may turn out to do alone."""
    gone = (ReplicaState.FAILED, ReplicaState.CANCELLED)
    left = [each for each in ballot.replicas if each.state not in gone]
    return ballot.wish.adaptive and len(left) == 1 and left[0].state is ReplicaState.PENDING
