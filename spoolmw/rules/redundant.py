"""The state machine of a task with redundancy: its vote decides, the task follows.

Rule 1: all its attempts stand in the ballot. The task is QUEUED while no replica runs, RUNNING
while one holds a lease, VALIDATING while results are compared, and it ends as the vote ends.
Rule 2: what users wish and what it waits for has the rules of any task; they stand in
`TRANSITIONS`. What concerns the vote is in `VOTING`, and the state follows from the ballot.
Rule 3: when the result is delivered the vote is sealed: a result that comes later is compared,
where that is possible, for its host's record only. One that was given up may be taken up
again by hand: what the replicas returned stays in `stage/` until the task is pruned.
"""

from __future__ import annotations

from typing import Final, cast

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Deliver, Discard, Effect, Forget, Score, Stop
from spoolmw.model.events import (
    Cancelled,
    Checkpointed,
    ComparedLate,
    Delivered,
    Event,
    Held,
    Lost,
    NameTaken,
    PredecessorsEnded,
    Released,
    Reported,
    Reprioritised,
    Resolved,
    Resumed,
    Retried,
    Started,
    TwinEnded,
)
from spoolmw.model.replica import Ballot, Phase
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
    Placed,
)
from spoolmw.rules import ballot as vote
from spoolmw.rules import closing, endings, waiting, wishes
from spoolmw.rules import history as past
from spoolmw.rules import replica as one
from spoolmw.rules.become import Rule, Step, become, impossible
from spoolmw.rules.endings import deliver

WAITING = TaskState.WAITING
QUEUED = TaskState.QUEUED
HELD = TaskState.HELD
RUNNING = TaskState.RUNNING
VALIDATING = TaskState.VALIDATING
DELIVERING = TaskState.DELIVERING
DONE = TaskState.DONE
FAILED = TaskState.FAILED
CANCELLED = TaskState.CANCELLED


def step(task: Task, event: Event) -> Step:
    """What `event` makes of `task`, which has a ballot; the very same where it changes nothing."""
    ballot = task.ballot
    assert ballot is not None
    if type(event) in VOTING:
        return _vote(task, ballot, cast("vote.Event", event))
    if _is_late(task, event):
        return task, waiting.left_behind(task, event)
    rule = TRANSITIONS.get((task.state, type(event)))
    if rule is None:
        raise impossible(task, event)
    return rule.apply(task, event)


def owed(task: Task, ballot: Ballot) -> tuple[Effect, ...]:
    """What the world must be told again after a crash, read off the state alone."""
    if task.state in FINAL:
        return (Forget(task, payload=task.state is DONE), *_discards(task, ballot))
    if task.state is DELIVERING:
        return (Deliver(task), *_discards(task, ballot))
    return vote.owed(ballot)


def is_ignored(state: TaskState, kind: type[Event]) -> bool:
    """Whether any event of this kind changes nothing in `state`; without a rule else, it is a bug."""
    if kind in VOTING:
        return state not in VOTING[kind]
    return (state, kind) not in TRANSITIONS and not (kind in _ONCE and state not in FINAL)


def _is_late(task: Task, event: Event) -> bool:
    if isinstance(event, TwinEnded | Resolved | PredecessorsEnded):
        return waiting.is_late(task, event)
    if isinstance(event, ComparedLate):
        return not may_come_late(task, event.report)
    return is_ignored(task.state, type(event))


def may_come_late(task: Task, report: Reported) -> bool:
    """Whether a report that comes after the delivery still says something of its host."""
    ballot, attempt = task.ballot, report.attempt
    if task.state is not DONE or ballot is None or ballot.phase is not Phase.AGREED:
        return False
    if attempt.task != task.id or not 0 <= attempt.replica < len(ballot.replicas):
        return False
    return not one.is_late(ballot.replicas[attempt.replica], report)


def _discards(task: Task, ballot: Ballot) -> tuple[Effect, ...]:
    """What may go from `stage/`: of a task that is DONE also what may come yet."""
    if task.state is not DONE:
        return tuple(Discard(attempt) for attempt in vote.unwanted(ballot))
    delivered = task.ending.staged if task.ending is not None else None
    return tuple(
        Discard(attempt)
        for each in ballot.replicas
        for attempt in one.all_attempts(each)
        if attempt != delivered
    )


# What concerns the vote


def _vote(task: Task, ballot: Ballot, event: vote.Event) -> Step:
    """The ballot takes the event; the task follows where that leads."""
    if task.state not in VOTING[type(event)]:
        if isinstance(event, Reported) and Discard(event.attempt) in _discards(task, ballot):
            return task, (Discard(event.attempt),)
        return task, ()
    after = vote.step(ballot, event)
    scores = tuple(_scores(after.ballot, after.marks))
    if after.ballot is ballot:
        return task, (*scores, *after.effects)
    if isinstance(event, Accepted | Granted) and task.state is FAILED:
        task = become(task, QUEUED, result_name=event.result_name)
    followed, effects = _follow(task, after.ballot)
    return followed, (*scores, *effects, *after.effects)


def _scores(ballot: Ballot, marks: closing.Marks) -> list[Score]:
    spots = ((ballot.replicas[number].spot, mark) for number, mark in marks)
    return [Score(spot, mark) for spot, mark in spots if spot is not None]


def _follow(task: Task, ballot: Ballot) -> Step:
    """The task with its ballot as it is now, in the state that this gives."""
    if task.state is DELIVERING:
        return become(task, DELIVERING, ending=task.ending, ballot=ballot), ()
    ending = ending_of(ballot)
    if ending is not None:
        return deliver(become(task, task.state, ballot=ballot), ending, task.history)
    state = task.state if task.state in (HELD, WAITING) else state_of(ballot)
    after = become(task, state, ballot=ballot, twin_of=task.twin_of, waits=task.waits)
    return after, ()


def state_of(ballot: Ballot) -> TaskState:
    """Where a task stands whose vote is open, and that nobody holds."""
    if ballot.phase is Phase.JUDGING:
        return VALIDATING
    runs = any(each.lease is not None for each in ballot.replicas)
    return RUNNING if runs else QUEUED


def ending_of(ballot: Ballot) -> Ending | None:
    """How a task ends whose vote has ended; None while it is open."""
    match ballot.phase:
        case Phase.AGREED:
            assert ballot.canonical is not None
            best = ballot.replicas[ballot.canonical]
            assert best.staged is not None
            return Ending(
                state=DONE,
                cause=Cause.FINISHED,
                blame=Blame.NONE,
                message=ballot.message,
                staged=best.staged,
                body_bytes=best.body_bytes,
                digest=best.digest,
                files=best.files,
                trusted=past.is_trusted(best.history, best.staged.attempt),
            )
        case Phase.GIVEN_UP:
            cause = Cause.VALIDATOR if ballot.fault else Cause.DISAGREEMENT
            blame = Blame.USER if ballot.fault else Blame.TASK
            return Ending(state=FAILED, cause=cause, blame=blame, message=ballot.message)
        case Phase.WITHDRAWN:
            return Ending(
                state=CANCELLED,
                cause=Cause.CANCELLED,
                blame=Blame.USER,
                message=ballot.message,
            )
        case Phase.OPEN | Phase.JUDGING:
            return None


# What users wish, and what it waits for


def _hold(task: Task, event: Held) -> Step:
    """The user wants it to wait: running attempts are stopped; a validation comes to its end."""
    ballot = task.ballot
    assert ballot is not None
    message = f"held by {event.by}" if event.by else "held"
    effects: tuple[Effect, ...] = ()
    for each in ballot.replicas:
        effects += past.stops(each.attempt_id, each.history, is_wanted=True)
        if each.lease is None:
            continue
        after = one.held(each, message, event.wall)
        effects += (Stop(each.lease.agent, each.attempt_id),)
        effects += tuple(Discard(attempt) for attempt in one.unwanted(after, keep=True))
        ballot = closing.put(ballot, after)
    return become(task, HELD, ballot=ballot, twin_of=task.twin_of, waits=task.waits), effects


def _release(task: Task, event: Released) -> Step:
    """The user lets it go on, from where its vote stands."""
    assert task.ballot is not None
    if task.waits or task.twin_of is not None:
        return wishes.release(task, event)
    return become(task, state_of(task.ballot)), ()


def _retry(task: Task, event: Retried) -> Step:
    """Once more, with a new vote; its attempts are counted on."""
    assert task.ballot is not None
    old = task.ballot
    ballot, effects = vote.reopened(old, fresh=event.fresh)
    after, _ = wishes.retry(task, event)
    return become(
        after, after.state, waits=after.waits, twin_of=after.twin_of, ballot=ballot
    ), effects


def _hear(task: Task, event: TwinEnded | PredecessorsEnded) -> Step:
    """What it waited for ended: it may begin, or it ends without a vote."""
    assert task.ballot is not None
    if isinstance(event, TwinEnded):
        after, effects = waiting.hear_of_twin(task, event)
    else:
        after, effects = waiting.hear_of_predecessors(task, event)
    if after.state is not DELIVERING:
        return after, effects
    unneeded = closing.end(task.ballot, Phase.WITHDRAWN, "what it waited for decided", event.at)
    after = become(after, DELIVERING, ending=after.ending, ballot=unneeded.ballot)
    return after, (Deliver(after), *effects[1:], *unneeded.effects)


def _finish(task: Task, event: Delivered) -> Step:
    """The result stands in `results/`: the task ends as its ending says, and the vote is sealed."""
    assert task.ending is not None
    assert task.ballot is not None
    sealed = closing.sealed(task.ballot, event.at)
    after = become(task, task.ending.state, ending=task.ending, ballot=sealed.ballot)
    return after, (Forget(after, payload=after.state is DONE), *sealed.effects)


def _compare_late(task: Task, event: ComparedLate) -> Step:
    """A result came after the delivery: its verdict is for its host's record only."""
    ballot = task.ballot
    assert ballot is not None
    number = event.report.attempt.replica
    ballot, told = closing.applied(ballot, number, event.report)
    ballot, effects, marks = closing.sentenced(ballot, number, event.verdict, event.at)
    after = become(task, DONE, ending=task.ending, ballot=ballot)
    return after, (*_scores(ballot, marks), *told, *effects)


#: The events that the ballot takes, and the states in which they may change something.
_OPEN: Final = (WAITING, QUEUED, HELD, RUNNING, VALIDATING)
_BEGUN: Final = (QUEUED, HELD, RUNNING, VALIDATING)
_HEARD: Final = (*_BEGUN, DELIVERING)
VOTING: Final[dict[type[Event], tuple[TaskState, ...]]] = {
    Placed: (QUEUED, RUNNING, VALIDATING),
    Started: _HEARD,
    Resumed: _HEARD,
    Checkpointed: _HEARD,
    Reported: _HEARD,
    Lost: _HEARD,
    DeadlinePassed: _HEARD,
    Judged: _HEARD,
    JudgingFailed: _HEARD,
    Cancelled: _OPEN,
    Accepted: (*_BEGUN, FAILED),
    Granted: (*_BEGUN, FAILED),
    GivenUp: _OPEN,
}

#: All else that may happen to it.
TRANSITIONS: Final[dict[tuple[TaskState, type[Event]], Rule]] = {
    (WAITING, TwinEnded): Rule(_hear, (DELIVERING, QUEUED, WAITING)),
    (WAITING, Resolved): Rule(waiting.resolve, (WAITING,)),
    (WAITING, PredecessorsEnded): Rule(_hear, (QUEUED, WAITING, DELIVERING, HELD)),
    (HELD, TwinEnded): Rule(_hear, (DELIVERING, HELD)),
    (HELD, Resolved): Rule(waiting.resolve, (HELD,)),
    (HELD, PredecessorsEnded): Rule(_hear, (HELD, DELIVERING)),
    (HELD, Released): Rule(_release, (QUEUED, WAITING, VALIDATING)),
    **{(state, Held): Rule(_hold, (HELD,)) for state in _OPEN if state is not HELD},
    **{(state, Reprioritised): Rule(wishes.reprioritise, (state,)) for state in _OPEN},
    (DELIVERING, NameTaken): Rule(endings.rename, (DELIVERING,)),
    (DELIVERING, Delivered): Rule(_finish, (DONE, FAILED, CANCELLED)),
    (DONE, ComparedLate): Rule(_compare_late, (DONE,)),
    (FAILED, Retried): Rule(_retry, (QUEUED, WAITING)),
    (CANCELLED, Retried): Rule(_retry, (QUEUED, WAITING)),
}

#: Facts that our own delivery tells; told again when the task has ended, they are late.
_ONCE: Final = frozenset({Delivered, NameTaken})
