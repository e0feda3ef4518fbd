"""One replica's state machine: what an event makes of it, and what the world must be told.

Rule 1: all transitions stand in one table, `TRANSITIONS`; no clock and no chance.
Rule 2: what comes too late, twice or with a wrong token changes nothing.
Rule 3: a missed deadline ends no attempt. The replica is replaced, and its room stays taken, but
if it reports after all while the vote is open, that is a vote as any other (BOINC: "no reply").
Rule 4: an attempt that was lost or dropped keeps its token in the history, unless it is proven
dead or the vote is closed: its late success counts, or is compared for its host's record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from spoolmw.errors import IllegalTransition
from spoolmw.model.attempt import Blame, Cause, Lease, Outcome
from spoolmw.model.effects import Discard, StartReplica, Stop, Trim
from spoolmw.model.events import Checkpointed, Lost, Reported, Resumed, Started
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Replica, ReplicaState, Spot, Verdict
from spoolmw.model.spec import Retry
from spoolmw.model.voting import DeadlinePassed, Dropped, FoundUnfit, Placed, Sentenced
from spoolmw.rules import history as past
from spoolmw.rules import saving
from spoolmw.rules.retry import (
    AGENT_BACKOFF_S,
    are_too_many,
    backoff_s,
    is_named,
    memory_after,
)

PENDING = ReplicaState.PENDING
RUNNING = ReplicaState.RUNNING
REPORTED = ReplicaState.REPORTED
VALID = ReplicaState.VALID
INVALID = ReplicaState.INVALID
FAILED = ReplicaState.FAILED
CANCELLED = ReplicaState.CANCELLED

Told = Started | Resumed | Checkpointed | Reported | Lost | DeadlinePassed
Event = Placed | Told | Sentenced | FoundUnfit | Dropped
Effect = StartReplica | Stop | Discard | Trim
Step = tuple[Replica, tuple[Effect, ...]]


def step(replica: Replica, event: Event, retry: Retry) -> Step:
    """What `event` makes of `replica`; the very same record where it changes nothing."""
    if is_late(replica, event):
        return replica, _left_behind(replica, event)
    rule = TRANSITIONS.get((replica.state, type(event)))
    if rule is None:
        raise IllegalTransition(
            f"Replica {replica.number} of task {replica.task} is {replica.state.value}:"
            f" {type(event).__name__} cannot happen to it.",
            why="This is a bug in spoolmw: an event reached a state where it has no meaning.",
            fix="Please report it, with the output of `spoolmw-ctl votes` for this task.",
        )
    return rule.apply(replica, event, retry)


def is_late(replica: Replica, event: Event) -> bool:
    """Whether `event` comes too late or twice, is forged, or wants what is so already."""
    match event:
        case Reported():
            return not (_is_own(replica, event) or _is_late_success(replica, event))
        case Resumed() | Checkpointed():
            return saving.is_late(replica, event)
        case Started() | Lost() | DeadlinePassed():
            if isinstance(event, DeadlinePassed) and replica.overdue:
                return True
            return replica.lease is None or event.attempt != replica.attempt_id
        case Placed():
            return False
        case _:
            return (replica.state, type(event)) not in TRANSITIONS


def is_ignored(state: ReplicaState, kind: type[Event]) -> bool:
    """Whether any event of this kind changes nothing in `state`; without a rule else, it is a bug."""
    return (state, kind) not in TRANSITIONS and kind is not Placed


def trims(replica: Replica) -> tuple[Trim, ...]:
    """What the checkpoints of an open replica owe."""
    if replica.saved is None and not replica.since:
        return ()
    return (Trim(replica.task, replica.saved, replica.since, replica.number),)


def held(replica: Replica, message: str, wall: float) -> Replica:
    """The running replica, stopped at `wall` by the user's will: it waits as one that never ran."""
    history = past.with_stop(replica, Cause.HELD, Blame.USER, message, wall)
    return replace(replica, state=PENDING, lease=None, history=history, overdue=False)


def unwanted(replica: Replica, *, keep: bool) -> tuple[AttemptId, ...]:
    """The attempts whose files in `stage/` nobody can want any more, oldest first.

    `keep` says whether the result that the replica reported is still needed.
    """
    wanted = {ran.attempt for ran in replica.history if ran.token}
    if replica.staged is not None and keep:
        wanted.add(replica.staged.attempt)
    if replica.lease is not None:
        wanted.add(replica.attempt)
    return tuple(each for each in all_attempts(replica) if each.attempt not in wanted)


def all_attempts(replica: Replica) -> tuple[AttemptId, ...]:
    """Every attempt that was launched, oldest first."""
    numbers = range(1, replica.attempt + 1)
    return tuple(AttemptId(replica.task, replica.number, each) for each in numbers)


def _is_own(replica: Replica, event: Reported) -> bool:
    lease = replica.lease
    return (
        lease is not None and event.attempt == replica.attempt_id and event.token == lease.token
    )


def _is_late_success(replica: Replica, event: Reported) -> bool:
    return (
        event.outcome is Outcome.SUCCESS
        and event.attempt == replica.attempt_id._replace(attempt=event.attempt.attempt)
        and replica.staged is None
        and past.may_still_report(replica, event.attempt.attempt, event.token)
    )


def _left_behind(replica: Replica, event: Event) -> tuple[Effect, ...]:
    """The file that came with a late report and that nobody wants; a forged one has none."""
    if not isinstance(event, Reported) or event.attempt not in unwanted(replica, keep=True):
        return ()
    return (Discard(event.attempt),)


# The rules


def _place(replica: Replica, event: Placed, retry: Retry) -> Step:
    """A slot was found: a new attempt gets its number, its token and its deadline."""
    after = replace(
        replica,
        state=RUNNING,
        attempt=replica.attempt + 1,
        lease=Lease(
            agent=event.agent,
            token=event.token,
            assigned_at=event.wall,
            host=event.spot.host,
            trusted=event.agent_trusted,
        ),
        spot=event.spot,
    )
    return after, (StartReplica(after),)


def _begin(replica: Replica, event: Started, retry: Retry) -> Step:
    """The agent says that the attempt really runs, and where."""
    assert replica.lease is not None
    lease = replace(
        replica.lease, started_at=event.started_at, host=event.host, slot=event.slot
    )
    return replace(replica, lease=lease, spot=_spot(replica, event)), ()


def _spot(replica: Replica, event: Started | Reported) -> Spot | None:
    """Where the attempt runs, as its agent knows by now."""
    spot = replica.spot
    if spot is None:
        return None
    told = {"owner": event.owner, "platform": event.platform}
    if event.machine != spot.machine and event.machine:
        told |= {"machine": event.machine, "host": event.host}
    news = {key: value for key, value in told.items() if value}
    return replace(spot, **news) if news else spot


def _resume(replica: Replica, event: Resumed, retry: Retry) -> Step:
    """The attempt took up a checkpoint, maybe an older one because the newest was damaged."""
    return replace(replica, saved=event.saved), ()


def _checkpoint(replica: Replica, event: Checkpointed, retry: Retry) -> Step:
    """The attempt got further: its losses count anew, and only the two newest are kept."""
    after = replace(replica, losses=0, saved=saving.saved_by(event))
    return after, trims(after)


def _report(replica: Replica, event: Reported, retry: Retry) -> Step:
    """The running attempt, or an earlier one after all, ended: a vote, a repetition or a failure."""
    if not _is_own(replica, event):
        return _report_late(replica, event, retry)
    spot = _spot(replica, event)
    after = replace(replica, lease=None, spot=spot, history=past.with_report(replica, event))
    if event.outcome is Outcome.SUCCESS:
        stops = past.stops(replica.attempt_id, after.history)
        after = _voted(after, event)
        return after, (*stops, *(Discard(each) for each in unwanted(after, keep=True)))
    if event.blame is not Blame.TASK:
        return _after_loss(after, event)
    failures = replica.failures + 1
    memory_bytes = memory_after(replica.memory_bytes, retry, event.cause)
    after = replace(after, failures=failures, losses=0, memory_bytes=memory_bytes)
    again = replica.failures < retry.max and is_named(retry, event.cause, event.exit_code)
    if again and not replica.overdue:
        pause_s = backoff_s(retry.backoff_s, failures, event.jitter)
        after = replace(after, state=PENDING, not_before=event.at + pause_s)
    else:
        after = replace(after, state=FAILED, message=event.message or event.cause.value)
    return after, (Discard(event.attempt),)


def _report_late(replica: Replica, event: Reported, retry: Retry) -> Step:
    """An attempt that was given up succeeded after all; a newer one is stopped."""
    effects: tuple[Effect, ...] = ()
    after = replica
    if replica.lease is not None:
        effects = (Stop(replica.lease.agent, replica.attempt_id, is_wanted=False),)
        why = f"attempt {event.attempt.attempt} reported after all"
        after = _stopped(replica, Cause.SUPERSEDED, Blame.NONE, why)
    # Its voter is the machine where it ran, not the newest attempt's.
    after = replace(after, spot=_spot(after, event))
    history = past.with_late_success(after.history, event)
    effects += past.stops(replica.attempt_id, history)
    after = _voted(replace(after, history=history), event)
    return after, effects + tuple(Discard(each) for each in unwanted(after, keep=True))


def _lose(replica: Replica, event: Lost, retry: Retry) -> Step:
    """The attempt is gone without a result: a free repetition, until they are too many."""
    after = replace(replica, lease=None, history=past.with_loss(replica, event))
    return _after_loss(after, event)


def _after_loss(after: Replica, event: Lost | Reported) -> Step:
    counts = event.counts if isinstance(event, Lost) else True
    losses = after.losses + counts
    after = replace(after, losses=losses)
    discards = tuple(Discard(each) for each in unwanted(after, keep=True))
    if after.overdue or (counts and are_too_many(losses, event.cause)):
        return replace(
            after, state=FAILED, message=event.message or event.cause.value
        ), discards
    pause_s = 0.0
    if event.blame is Blame.AGENT:
        faults = past.agent_faults_in_a_row(after.history)
        pause_s = backoff_s(AGENT_BACKOFF_S, faults, event.jitter)
    return replace(after, state=PENDING, not_before=event.at + pause_s), discards


def _overstay(replica: Replica, event: DeadlinePassed, retry: Retry) -> Step:
    """It has not reported in time: another is made in its place, and it may go on."""
    return replace(replica, overdue=True), ()


def _sentence(replica: Replica, event: Sentenced, retry: Retry) -> Step:
    """Its result was compared; what is inconclusive may be compared again."""
    state = {Verdict.VALID: VALID, Verdict.INVALID: INVALID}.get(event.verdict, REPORTED)
    return replace(replica, state=state, verdict=event.verdict), ()


def _refuse(replica: Replica, event: FoundUnfit, retry: Retry) -> Step:
    """What it returned is no result at all."""
    assert replica.staged is not None
    after = replace(replica, state=FAILED, staged=None, message=event.message)
    return after, (Discard(replica.staged),)


def _drop(replica: Replica, event: Dropped, retry: Retry) -> Step:
    """It is not needed any more: what runs is stopped, what waits is never launched."""
    effects: tuple[Effect, ...] = past.stops(replica.attempt_id, replica.history)
    after = replica
    if replica.lease is not None:
        effects = (Stop(replica.lease.agent, replica.attempt_id, is_wanted=False), *effects)
        after = _stopped(replica, Cause.SUPERSEDED, Blame.NONE, event.message)
    if event.closed:
        after = replace(after, history=past.closed(after.history))
    after = replace(after, state=CANCELLED, staged=None, message=event.message)
    return after, effects + tuple(Discard(each) for each in unwanted(after, keep=False))


def _stopped(replica: Replica, cause: Cause, blame: Blame, message: str) -> Replica:
    """The running replica without its lease, which may yet report; when it ends is not known: 0."""
    history = past.with_stop(replica, cause, blame, message, 0.0)
    return replace(replica, lease=None, history=history)


def _voted(replica: Replica, event: Reported) -> Replica:
    """The replica with its result; of its attempts no other counts any more."""
    return replace(
        replica,
        history=past.closed(replica.history),
        state=REPORTED,
        staged=event.attempt,
        body_bytes=event.body_bytes,
        digest=event.digest,
        files=event.files,
        losses=0,
        message="",
    )


class Rule(NamedTuple):
    """What an event does in a state, as the function's docstring says, and where it leads."""

    apply: Callable[[Replica, Any, Retry], Step]
    to: tuple[ReplicaState, ...]


#: The whole machine.
TRANSITIONS: Final[dict[tuple[ReplicaState, type[Event]], Rule]] = {
    (PENDING, Placed): Rule(_place, (RUNNING,)),
    (PENDING, Reported): Rule(_report, (REPORTED,)),
    (PENDING, Dropped): Rule(_drop, (CANCELLED,)),
    (RUNNING, Started): Rule(_begin, (RUNNING,)),
    (RUNNING, Resumed): Rule(_resume, (RUNNING,)),
    (RUNNING, Checkpointed): Rule(_checkpoint, (RUNNING,)),
    (RUNNING, Reported): Rule(_report, (REPORTED, PENDING, FAILED)),
    (RUNNING, Lost): Rule(_lose, (PENDING, FAILED)),
    (RUNNING, DeadlinePassed): Rule(_overstay, (RUNNING,)),
    (RUNNING, Dropped): Rule(_drop, (CANCELLED,)),
    (REPORTED, Sentenced): Rule(_sentence, (VALID, INVALID, REPORTED)),
    (REPORTED, FoundUnfit): Rule(_refuse, (FAILED,)),
    (REPORTED, Dropped): Rule(_drop, (CANCELLED,)),
    (FAILED, Reported): Rule(_report, (REPORTED,)),
    (CANCELLED, Reported): Rule(_report, (REPORTED,)),
}
