"""The vote on one task: its replicas together, from the first placement to the canonical result.

Rule 1: pure; one event in, the new ballot, effects and marks out. Whoever commits the ballot
commits the marks with it, so each result counts once in its host's record.
Rule 2: effects are owed by the state: `owed` repeats them after a crash. Only `Stop` is not: an
attempt without a lease shows up as an orphan.
Rule 3: results are compared when there are as many as the quorum needs and at least one is new.
While a validation is under way nothing else is decided; its answer must name its round.
Rule 4: the end is decided once. What reports later is compared with the canonical result, for
its host's record only. Where nothing was agreed nobody knows who was right: no host is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from spoolmw.model.effects import Discard, StartReplica
from spoolmw.model.events import Cancelled, Checkpointed, Lost, Reported, Resumed, Started
from spoolmw.model.host import Mark
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Phase, Replica, ReplicaState, Verdict
from spoolmw.model.spec import Retry
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    FoundUnfit,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
    Placed,
)
from spoolmw.rules import closing, quorum
from spoolmw.rules import replica as one
from spoolmw.rules.closing import Effect, Marks, Step
from spoolmw.rules.course import go_on, order
from spoolmw.rules.retry import backoff_s

JUDGING_BACKOFF_S: Final = 10.0  #: the pause before a validation is tried again; doubles
JUDGINGS_AT_MOST: Final = 8  #: that come to nothing in a row; then the fault is the validator's

Event = Placed | one.Told | Judged | JudgingFailed | Accepted | Granted | GivenUp | Cancelled


def opened(
    task: TaskId, wish: Redundancy, retry: Retry | None = None, memory_bytes: int = 0
) -> Ballot:
    """The ballot of an accepted task, with its first replicas.

    Where trust may spare some (`adaptive`), that is one, until it is known where it runs.
    """
    ballot = Ballot(task=task, wish=wish, retry=retry or Retry(), memory_bytes=memory_bytes)
    return closing.grown(ballot, 1 if wish.adaptive else wish.target)


def reopened(old: Ballot, *, fresh: bool) -> tuple[Ballot, tuple[Effect, ...]]:
    """A new ballot in the place of one that ended; what the old replicas left is not wanted.

    Attempts and validations are counted on, so that none is taken for an older one. With `fresh`
    no checkpoint of an older attempt counts.
    """
    new = opened(old.task, old.wish, old.retry, old.memory_bytes)
    highest = max((each.attempt for each in old.replicas), default=0)
    blank = replace(new, replicas=(), round=old.round, attempts=highest, fresh=fresh)
    ballot = closing.grown(blank, len(new.replicas))
    left = (each.staged for each in old.replicas)
    effects: tuple[Effect, ...] = tuple(Discard(each) for each in left if each is not None)
    return ballot, effects + _trims(ballot)


def _trims(ballot: Ballot) -> tuple[Effect, ...]:
    return tuple(trim for each in ballot.replicas for trim in one.trims(each))


def step(ballot: Ballot, event: Event) -> Step:
    """What `event` makes of `ballot`; the very same record where it changes nothing."""
    return HANDLERS[type(event)](ballot, event)


def owed(ballot: Ballot) -> tuple[Effect, ...]:
    """What the world must be told again after a crash, read off the state alone."""
    effects: tuple[Effect, ...] = tuple(
        StartReplica(each) for each in ballot.replicas if each.lease is not None
    )
    if ballot.asked:
        effects += (order(ballot),)
    discards = (Discard(each) for each in unwanted(ballot))
    return (*effects, *_trims(ballot), *discards)


def unwanted(ballot: Ballot) -> tuple[AttemptId, ...]:
    """The attempts whose files in `stage/` nobody can want any more."""
    found: list[AttemptId] = []
    for each in ballot.replicas:
        found += one.unwanted(each, keep=_is_needed(ballot, each))
    return tuple(found)


def staged_results(ballot: Ballot) -> tuple[AttemptId, ...]:
    """The attempts whose results in `stage/` are needed: for comparing, delivering, or a decision."""
    return tuple(
        each.staged
        for each in ballot.replicas
        if each.staged is not None and _is_needed(ballot, each)
    )


def _is_needed(ballot: Ballot, replica: Replica) -> bool:
    """Whether the result that a replica returned, if it did, is needed yet."""
    return (
        ballot.phase is not Phase.AGREED
        or replica.number == ballot.canonical
        or replica.state is ReplicaState.REPORTED
    )


# What happens to one replica


def _place(ballot: Ballot, event: Placed) -> Step:
    """A slot was found. Now it is known whether one replica will do."""
    others = [
        each
        for each in ballot.replicas
        if each.number != event.replica and each.state is not ReplicaState.FAILED
    ]
    alone = ballot.wish.adaptive and event.trusted and event.agent_trusted and not others
    ballot = replace(ballot, alone=alone)
    after, effects = one.step(ballot.replicas[event.replica], event, ballot.retry)
    assert after.state is ReplicaState.RUNNING
    if ballot.wish.deadline_s:
        after = replace(after, until=event.at + ballot.wish.deadline_s)
        effects = (StartReplica(after),)
    return go_on(closing.put(ballot, after), event.at, effects)


def _hear(ballot: Ballot, event: one.Told) -> Step:
    """An agent says something of an attempt, or nothing until its deadline."""
    number = event.attempt.replica
    if event.attempt.task != ballot.task or not 0 <= number < len(ballot.replicas):
        return Step(ballot)
    before = ballot.replicas[number]
    after, orders = one.step(before, event, ballot.retry)
    effects: tuple[Effect, ...] = orders
    if after is before:
        return Step(ballot, effects)
    is_silent = isinstance(event, DeadlinePassed) and _others_were_in_time(ballot, number)
    marks: Marks = ((number, Mark.SILENT),) if is_silent else ()
    ballot = closing.put(ballot, after)
    if after.overdue or after.state not in (ReplicaState.RUNNING, ReplicaState.REPORTED):
        ballot = replace(ballot, alone=False)  # trust was in one host, and it did not deliver
    if isinstance(event, Reported) and after.state is ReplicaState.REPORTED:
        ballot, dropped = _of_one_platform(ballot, after, event.at)
        effects += dropped
    return go_on(ballot, event.at, effects, marks)


def _others_were_in_time(ballot: Ballot, number: int) -> bool:
    """Whether a result of another replica came before its deadline: if not, it may be too short."""
    return any(
        each.state is ReplicaState.REPORTED and not each.overdue
        for each in ballot.replicas
        if each.number != number
    )


def _of_one_platform(
    ballot: Ballot, new: Replica, at: float
) -> tuple[Ballot, tuple[Effect, ...]]:
    """The first result fixes the class; a result of another platform cannot be compared."""
    platform = new.spot.platform if new.spot is not None else ""
    if not ballot.wish.alike or platform == ballot.platform:
        return ballot, ()
    if not ballot.platform:
        return replace(ballot, platform=platform), ()
    why = (
        f"it ran on {platform or 'an unknown platform'}, the first result on {ballot.platform}"
    )
    return closing.dropped(ballot, new, why, at, closed=True)


# What the validator says


def _judged(ballot: Ballot, event: Judged) -> Step:
    """Classes for the results that were asked for; an answer to an older question is late."""
    if not ballot.asked or event.round != ballot.round:
        return Step(ballot)
    if not _is_whole(event, ballot.asked):
        why = "the validator's answer does not fit what it was asked"
        return _judging_failed(
            ballot, JudgingFailed(at=event.at, round=event.round, message=why)
        )
    asked = ballot.asked
    ballot = replace(ballot, asked=(), judge_failures=0, judge_after=0.0)
    if ballot.phase is Phase.AGREED:
        return _compared(ballot, event, asked)
    ballot = replace(ballot, phase=Phase.OPEN, classes=event.classes)
    effects: tuple[Effect, ...] = ()
    for number, why in event.unfit:
        unfit = FoundUnfit(at=event.at, message=why)
        ballot, more = closing.applied(ballot, number, unfit)
        effects += more
    if not any(each.state is ReplicaState.REPORTED for each in ballot.replicas):
        ballot = replace(ballot, platform="")  # no result is left that fixed it
    return go_on(ballot, event.at, effects)


def _is_whole(event: Judged, asked: Collection[int]) -> bool:
    """Whether each result that was asked for stands in one class, or is unfit."""
    found = [number for each in event.classes for number in each.members]
    found += [number for number, _ in event.unfit]
    sound = all(
        each.centre in each.members and set(each.near) <= set(asked) for each in event.classes
    )
    return sound and sorted(found) == sorted(asked)


def _compared(ballot: Ballot, event: Judged, asked: Sequence[int]) -> Step:
    """Late results beside the canonical one: for their hosts' records only."""
    same: set[int] = set()
    for each in event.classes:
        if ballot.canonical in each.members:
            same |= {*each.members, *(each.near if each.centre == ballot.canonical else ())}
    if not same:  # it was delivered meanwhile: that says nothing of the others
        return _not_compared(ballot, asked, event.at)
    effects: tuple[Effect, ...] = ()
    marks: Marks = ()
    for number in asked:
        if number != ballot.canonical:
            verdict = Verdict.VALID if number in same else Verdict.INVALID
            ballot, more, mark = closing.sentenced(ballot, number, verdict, event.at)
            effects, marks = effects + more, marks + mark
    return go_on(ballot, event.at, effects, marks)


def _judging_failed(ballot: Ballot, event: JudgingFailed) -> Step:
    """It is tried again where that may help; else the fault is the validator's, not a replica's."""
    if not ballot.asked or event.round != ballot.round:
        return Step(ballot)
    failures = ballot.judge_failures + 1
    if event.transient and failures < JUDGINGS_AT_MOST:
        pause_s = backoff_s(JUDGING_BACKOFF_S, failures, event.jitter)
        ballot = replace(
            ballot,
            round=ballot.round + 1,
            judge_failures=failures,
            judge_after=event.at + pause_s,
        )
        return Step(ballot, (order(ballot),))
    asked = ballot.asked
    ballot = replace(ballot, asked=(), judge_failures=0, judge_after=0.0)
    if ballot.phase is not Phase.AGREED:
        return closing.end(ballot, Phase.GIVEN_UP, event.message, event.at, fault=True)
    return _not_compared(ballot, asked, event.at)


def _not_compared(ballot: Ballot, asked: Sequence[int], at: float) -> Step:
    """Nobody will know what these late results were worth: no host is marked."""
    effects: tuple[Effect, ...] = ()
    for number in asked:
        if number != ballot.canonical:
            why = "it came late and could not be compared"
            late = ballot.replicas[number]
            ballot, more = closing.dropped(ballot, late, why, at, closed=True)
            effects += more
    return go_on(ballot, at, effects)


# What somebody decides by hand


def _accept(ballot: Ballot, event: Accepted) -> Step:
    """Somebody decided which result is right, whatever the validator says."""
    if ballot.phase in (Phase.AGREED, Phase.WITHDRAWN):
        return Step(ballot)
    if not 0 <= event.replica < len(ballot.replicas):
        return Step(ballot)
    if ballot.replicas[event.replica].staged is None:
        return Step(ballot)
    known = {number: each for each in ballot.classes for number in each.members}
    own = known.get(event.replica)
    valid = {event.replica, *(own.members if own is not None else ())}
    by = f" by {event.by}" if event.by else ""
    done = closing.agree(
        replace(ballot, asked=(), alone=False, message=f"accepted{by}"),
        quorum.Agreed(event.replica, tuple(sorted(valid)), tuple(sorted(known.keys() - valid))),
        event.at,
    )
    return go_on(done.ballot, event.at, done.effects, done.marks)


def _grant(ballot: Ballot, event: Granted) -> Step:
    """Somebody wants so many replicas more, also where the vote was given up."""
    if ballot.phase in (Phase.AGREED, Phase.WITHDRAWN) or event.replicas < 1:
        return Step(ballot)
    phase = Phase.OPEN if ballot.phase is Phase.GIVEN_UP else ballot.phase
    ballot = replace(
        ballot, phase=phase, extra=ballot.extra + event.replicas, message="", fault=False
    )
    return go_on(closing.grown(ballot, event.replicas), event.at)


def _give_up(ballot: Ballot, event: GivenUp) -> Step:
    """Somebody decided that there will be no result; what was returned stays."""
    by = f" by {event.by}" if event.by else ""
    return closing.end(ballot, Phase.GIVEN_UP, f"failed{by}", event.at)


def _withdraw(ballot: Ballot, event: Cancelled) -> Step:
    """Nobody wants the result any more: what runs is stopped, what was returned is not kept."""
    by = f" by {event.by}" if event.by else ""
    return closing.end(ballot, Phase.WITHDRAWN, f"cancelled{by}", event.at)


#: What answers to each kind of event.
HANDLERS: Final[dict[type[Event], Callable[[Ballot, Any], Step]]] = {
    Placed: _place,
    Started: _hear,
    Resumed: _hear,
    Checkpointed: _hear,
    Reported: _hear,
    Lost: _hear,
    DeadlinePassed: _hear,
    Judged: _judged,
    JudgingFailed: _judging_failed,
    Accepted: _accept,
    Granted: _grant,
    GivenUp: _give_up,
    Cancelled: _withdraw,
}
