"""One replica: every state with every event, and every story of five events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from spoolmw.errors import IllegalTransition
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.effects import Discard, StartReplica, Stop, Trim
from spoolmw.model.events import Started
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Replica, ReplicaState, Spot, Verdict
from spoolmw.model.voting import DeadlinePassed, Dropped, FoundUnfit, Placed, Sentenced
from spoolmw.rules.replica import TRANSITIONS, Event, is_ignored, step, unwanted
from tests.unit.rules.ballots import (
    BY_SIGNAL,
    NO_RETRY,
    a_given_up_attempt,
    a_loss,
    a_placement,
    a_replica,
    a_running_replica,
    a_spot,
    a_success,
    an_error,
    an_id,
)
from tests.unit.rules.builders import LOCAL, NOW, WALL, a_checkpoint, a_resume, a_save, token

S = ReplicaState


def a_reported_replica(**changes: Any) -> Replica:
    return step(a_running_replica(), a_success(), NO_RETRY)[0]


def a_replica_in(state: ReplicaState) -> Replica:
    match state:
        case S.PENDING:
            return a_replica()
        case S.RUNNING:
            return a_running_replica()
        case S.REPORTED:
            return a_reported_replica()
        case S.VALID | S.INVALID:
            verdict = Verdict(state.value)
            return step(a_reported_replica(), Sentenced(at=NOW, verdict=verdict), NO_RETRY)[0]
        case S.FAILED:
            return step(a_running_replica(), an_error(), NO_RETRY)[0]
        case S.CANCELLED:
            return step(a_replica(), Dropped(at=NOW), NO_RETRY)[0]


SAMPLES: dict[type[Event], Event] = {
    type(each): each
    for each in (
        a_placement(),
        Started(at=NOW, attempt=an_id(), started_at=WALL),
        a_resume(1),
        a_save(),
        a_success(),
        a_loss(),
        DeadlinePassed(at=NOW, attempt=an_id()),
        Sentenced(at=NOW, verdict=Verdict.VALID),
        FoundUnfit(at=NOW, message="no result"),
        Dropped(at=NOW, message="enough agree"),
    )
}


@pytest.mark.parametrize("state", list(S), ids=lambda each: each.value)
@pytest.mark.parametrize("kind", list(get_args(Event)), ids=lambda each: each.__name__)
def test_every_state_has_an_answer_to_every_event(
    state: ReplicaState, kind: type[Event]
) -> None:
    before, event = a_replica_in(state), SAMPLES[kind]
    rule = TRANSITIONS.get((state, kind))
    if rule is None and not is_ignored(state, kind):
        with pytest.raises(IllegalTransition):
            step(before, event, NO_RETRY)
        return
    after, effects = step(before, event, NO_RETRY)
    if after is before:
        assert all(isinstance(each, Discard) for each in effects)
    else:
        assert rule is not None
        assert after.state in rule.to


def test_a_placed_replica_gets_its_attempt_its_token_and_its_place() -> None:
    after, effects = step(a_replica(), a_placement(), NO_RETRY)
    assert (after.state, after.attempt, after.spot) == (S.RUNNING, 1, a_spot(0))
    assert effects == (StartReplica(after),)


def test_a_success_is_a_vote() -> None:
    after, effects = step(a_running_replica(), a_success(), NO_RETRY)
    assert (after.state, after.staged, after.lease) == (S.REPORTED, an_id(), None)
    assert effects == ()


def test_a_failure_that_the_user_wants_repeated_waits_for_another_slot() -> None:
    after, effects = step(a_running_replica(), an_error(cause=Cause.SIGNAL), BY_SIGNAL)
    assert (after.state, after.failures, after.lease) == (S.PENDING, 1, None)
    assert after.not_before > NOW
    assert effects == (Discard(an_id()),)


def test_a_failure_that_he_does_not_want_repeated_is_its_end() -> None:
    after, effects = step(a_running_replica(), an_error(), BY_SIGNAL)
    assert (after.state, after.message) == (S.FAILED, "oh")
    assert effects == (Discard(an_id()),)


def test_a_loss_is_repeated_for_free_and_the_third_in_a_row_is_its_end() -> None:
    replica = a_running_replica()
    for number in (1, 2):
        replica, _ = step(replica, a_loss(attempt=number), NO_RETRY)
        assert replica.state is S.PENDING
        replica, _ = step(replica, a_placement(attempt=number + 1), NO_RETRY)
    replica, _ = step(replica, a_loss(attempt=3), NO_RETRY)
    assert replica.state is S.FAILED
    assert replica.history[-1].blame is Blame.HOST


def test_a_missed_deadline_ends_nothing_and_is_heard_once() -> None:
    missed = DeadlinePassed(at=NOW, attempt=an_id())
    after, effects = step(a_running_replica(), missed, NO_RETRY)
    assert (after.state, after.overdue, effects) == (S.RUNNING, True, ())
    assert step(after, missed, NO_RETRY) == (after, ())
    assert step(after, a_success(), NO_RETRY)[0].state is S.REPORTED


def test_what_is_overdue_is_never_repeated_because_another_stands_for_it() -> None:
    overdue = a_running_replica(overdue=True)
    assert step(overdue, a_loss(), NO_RETRY)[0].state is S.FAILED
    assert step(overdue, an_error(cause=Cause.SIGNAL), BY_SIGNAL)[0].state is S.FAILED


def test_an_attempt_that_was_given_up_may_report_and_a_newer_one_is_stopped() -> None:
    running = a_running_replica(2, history=(a_given_up_attempt(1),))
    after, effects = step(running, a_success(attempt=1), NO_RETRY)
    assert (after.state, after.staged) == (S.REPORTED, an_id(attempt=1))
    assert effects == (
        Stop(LOCAL, an_id(attempt=2), is_wanted=False),
        Discard(an_id(attempt=2)),
    )
    assert [ran.outcome for ran in after.history] == [Outcome.SUCCESS, Outcome.STOPPED]


def test_a_late_result_is_the_vote_of_the_machine_where_it_ran() -> None:
    running = a_running_replica(2, history=(a_given_up_attempt(1),))
    late = a_success(attempt=1, machine="another", host="pc77", owner="bea", platform="p")
    after, _ = step(running, late, NO_RETRY)
    assert after.spot == a_spot(machine="another", host="pc77", owner="bea", platform="p")


def test_an_attempt_may_tell_only_when_it_runs_where_and_whose_host_that_is() -> None:
    waiting = a_running_replica(spot=Spot(machine=""))
    told = Started(
        at=NOW,
        attempt=an_id(),
        started_at=WALL,
        host="pc03",
        machine="boinc lab/3",
        owner="ann",
        platform="linux-x86_64",
    )
    after, _ = step(waiting, told, NO_RETRY)
    assert after.spot == Spot(
        machine="boinc lab/3", host="pc03", owner="ann", platform="linux-x86_64"
    )


def test_an_attempt_remembers_whether_its_agent_was_trusted() -> None:
    untrusted = a_placement(agent_trusted=False)
    running, _ = step(a_replica(), untrusted, NO_RETRY)
    for event in (a_success(), a_loss(), an_error()):
        after, _ = step(running, event, NO_RETRY)
        assert [ran.trusted for ran in after.history] == [False]
    again, _ = step(step(running, a_loss(), NO_RETRY)[0], a_placement(attempt=2), NO_RETRY)
    late, _ = step(again, a_success(), NO_RETRY)
    assert [ran.trusted for ran in late.history] == [False, True]


def test_what_was_given_up_is_stopped_when_another_attempt_has_the_result() -> None:
    running = a_running_replica(2, history=(a_given_up_attempt(1),))
    _, effects = step(running, a_success(attempt=2), NO_RETRY)
    assert effects == (Stop(LOCAL, an_id(attempt=1), is_wanted=False), Discard(an_id()))


def test_a_dead_attempts_report_is_not_believed() -> None:
    lost, _ = step(a_running_replica(), a_loss(dead=True), NO_RETRY)
    after, effects = step(lost, a_success(), NO_RETRY)
    assert after is lost
    assert effects == (Discard(an_id()),)


@pytest.mark.parametrize(
    "forged",
    [
        a_success(token="f" * 32),
        a_success(token=""),
        a_success(attempt=2),
        a_success(replica=1),
        a_success(attempt=2, token=token(1)),
    ],
)
def test_a_forged_report_changes_nothing(forged: Any) -> None:
    running = a_running_replica()
    assert step(running, forged, NO_RETRY) == (running, ())


def test_a_second_report_changes_nothing() -> None:
    reported = a_reported_replica()
    assert step(reported, a_success(), NO_RETRY) == (reported, ())


def test_a_checkpoint_is_kept_for_the_next_attempt_and_losses_count_anew() -> None:
    saved, effects = step(a_running_replica(losses=2), a_save(), NO_RETRY)
    assert (saved.saved, saved.losses) == (a_checkpoint(), 0)
    assert effects == (Trim(saved.task, a_checkpoint(), 0, 0),)
    lost, _ = step(saved, a_loss(), NO_RETRY)
    again, _ = step(lost, a_placement(attempt=2), NO_RETRY)
    assert again.saved == a_checkpoint()


def test_what_is_not_needed_is_stopped_and_what_waits_is_never_launched() -> None:
    dropped = Dropped(at=NOW, message="enough agree")
    after, effects = step(a_running_replica(), dropped, NO_RETRY)
    assert (after.state, effects) == (S.CANCELLED, (Stop(LOCAL, an_id(), is_wanted=False),))
    assert step(a_replica(), dropped, NO_RETRY)[1] == ()


def test_a_dropped_attempt_may_report_to_be_compared_unless_the_vote_is_closed() -> None:
    dropped, _ = step(a_running_replica(), Dropped(at=NOW), NO_RETRY)
    assert step(dropped, a_success(), NO_RETRY)[0].state is S.REPORTED
    closed, _ = step(a_running_replica(), Dropped(at=NOW, closed=True), NO_RETRY)
    assert step(closed, a_success(), NO_RETRY) == (closed, (Discard(an_id()),))


def test_a_result_that_is_none_is_a_failure() -> None:
    after, effects = step(a_reported_replica(), FoundUnfit(at=NOW, message="torn"), NO_RETRY)
    assert (after.state, after.staged, after.message) == (S.FAILED, None, "torn")
    assert effects == (Discard(an_id()),)


#: What may happen to the first two attempts, true and forged.
NEWS: list[Event] = [
    a_placement(),
    a_success(),
    a_success(attempt=2),
    a_success(token="f" * 32),
    an_error(cause=Cause.SIGNAL),
    a_loss(),
    a_loss(dead=True, attempt=2),
    DeadlinePassed(at=NOW, attempt=an_id()),
    Sentenced(at=NOW, verdict=Verdict.VALID),
    Sentenced(at=NOW, verdict=Verdict.INVALID),
    Sentenced(at=NOW, verdict=Verdict.INCONCLUSIVE),
    FoundUnfit(at=NOW, message="torn"),
    Dropped(at=NOW),
    Dropped(at=NOW, closed=True),
]


def test_every_story_of_eight_events_keeps_the_invariants() -> None:
    """Each replica that can be reached, with the files that were thrown away on the way there."""
    reached = {(a_replica(), frozenset[AttemptId]())}
    newest = reached
    for _ in range(8):
        newest = {after for each in newest for after in followers(*each)} - reached
        reached |= newest
    assert {replica.state for replica, _ in reached} == set(S)


def followers(
    before: Replica, gone: frozenset[AttemptId]
) -> Iterator[tuple[Replica, frozenset[AttemptId]]]:
    for event in NEWS:
        if isinstance(event, Placed):
            if before.state is not S.PENDING or before.attempt == 3:
                continue
            event = replace(event, token=token(before.attempt + 1))  # noqa: PLW2901
        after, effects = step(before, event, BY_SIGNAL)
        thrown = gone | {each.attempt for each in effects if isinstance(each, Discard)}
        check(before, after, thrown)
        yield after, thrown


def check(before: Replica, after: Replica, gone: frozenset[AttemptId]) -> None:
    assert (after.lease is not None) == (after.state is S.RUNNING)
    assert (after.staged is not None) == (after.state in (S.REPORTED, S.VALID, S.INVALID))
    assert after.staged not in gone, "a result is used that was thrown away"
    assert before.attempt <= after.attempt <= before.attempt + 1
    assert after.attempt == before.attempt or before.state is S.PENDING
    assert len(after.history) == after.attempt - (after.lease is not None)
    if before.state in (S.VALID, S.INVALID):
        assert after is before
    open_ones = {ran.attempt for ran in after.history if ran.token}
    assert not {each.attempt for each in gone} & open_ones, "its report would find no file"
    assert not {each.attempt for each in unwanted(after, keep=True)} & open_ones
