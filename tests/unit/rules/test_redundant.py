"""A task with redundancy: every state with every event, and everything that can be reached."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from spoolmw.errors import IllegalTransition
from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import (
    Deliver,
    Discard,
    Effect,
    Forget,
    Judge,
    Score,
    StartReplica,
    Stop,
)
from spoolmw.model.events import (
    Advanced,
    Assigned,
    Brought,
    Cancelled,
    ComparedLate,
    Delivered,
    Event,
    Held,
    NameTaken,
    Released,
    Reprioritised,
    Resolved,
    Retried,
    Started,
    Submitted,
)
from spoolmw.model.host import Mark
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Phase, ReplicaState, Verdict
from spoolmw.model.spec import Retry, Spec
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
)
from spoolmw.rules.ballot import opened, staged_results
from spoolmw.rules.redundant import TRANSITIONS, VOTING, is_ignored, state_of
from spoolmw.rules.task import owed, step
from tests.unit.rules.ballots import (
    OF_VOTES,
    a_class,
    a_loss,
    a_placement,
    a_spot,
    a_success,
    a_wish,
    an_error,
    an_id,
)
from tests.unit.rules.builders import (
    FIRST,
    LOCAL,
    NOW,
    TASK,
    WALL,
    a_checkpoint,
    a_predecessor_failed,
    a_resume,
    a_save,
    a_task,
    the_first_ended,
    the_predecessors_succeeded,
    token,
)

S = TaskState
PAIR = a_wish(2, limit=3, max_errors=1)


def a_redundant_task(
    wish: Redundancy = PAIR, retry: Retry | None = None, **changes: Any
) -> Task:
    """A task as it was accepted that wants two of at most three results to agree."""
    retry = retry or Retry(max=1, on=("signal",))
    spec = changes.pop("spec", Spec(name="sum", key="k", redundancy=wish, retry=retry))
    return a_task(**{"spec": spec, "ballot": opened(TASK, wish, retry), **changes})


def after(task: Task, *events: Event) -> Task:
    for event in events:
        task, _ = step(task, event)
    return task


def ballot_of(task: Task) -> Ballot:
    assert task.ballot is not None
    return task.ballot


def judged(task: Task, *classes: Any, **changes: Any) -> Judged:
    return replace(Judged(at=NOW, round=ballot_of(task).round, classes=classes), **changes)


WAITS = a_redundant_task(state=S.WAITING, twin_of=FIRST)
SUCCESSOR = a_redundant_task(
    state=S.WAITING,
    waits=True,
    predecessors=(FIRST,),
    spec=Spec(name="sum", key="k", redundancy=PAIR, after=(FIRST,)),
)
STRICT = replace(SUCCESSOR, spec=replace(SUCCESSOR.spec, after_failed="hold"))
QUEUED = a_redundant_task()
ONE_RUNS = after(QUEUED, a_placement(0))
BOTH_RUN = after(ONE_RUNS, a_placement(1))
ONE_REPORTED = after(BOTH_RUN, a_success(0))
ONE_OF_THREE_WAITS = after(BOTH_RUN, an_error(1))
JUDGING = after(ONE_REPORTED, a_success(1))
AGREED = after(JUDGING, judged(JUDGING, a_class(0, 1)))
LATE = after(
    BOTH_RUN,
    DeadlinePassed(at=NOW, attempt=an_id(1)),
    a_placement(2),
    a_success(0),
    a_success(2),
)
LATE_AGREED = after(LATE, judged(LATE, a_class(0, 2)))
GIVEN_UP = after(QUEUED, a_placement(0), a_success(0), GivenUp(at=NOW))
FAULT = after(JUDGING, JudgingFailed(at=NOW, round=1, message="it died"))
WITHDRAWN = after(ONE_REPORTED, Cancelled(at=NOW))
DELIVERING = (AGREED, LATE_AGREED, GIVEN_UP, FAULT, WITHDRAWN)
TASKS = [
    *(WAITS, SUCCESSOR, replace(SUCCESSOR, twin_of=FIRST), STRICT),
    *(after(each, Held(at=NOW)) for each in (WAITS, SUCCESSOR)),
    *(QUEUED, ONE_RUNS, BOTH_RUN, ONE_REPORTED, ONE_OF_THREE_WAITS, JUDGING, LATE),
    *(after(each, Held(at=NOW)) for each in (QUEUED, BOTH_RUN, ONE_REPORTED, JUDGING)),
    *DELIVERING,
    *(after(each, Delivered(at=NOW)) for each in DELIVERING),
    *(
        replace(after(each, Delivered(at=NOW)), spec=SUCCESSOR.spec, predecessors=(FIRST,))
        for each in (GIVEN_UP, WITHDRAWN)
    ),
]

FOUND = (Verdict.VALID, Verdict.INVALID)
NEWS: list[Event] = [
    *(a_success(number) for number in (0, 1, 2)),
    a_success(0, token="f" * 32),
    an_error(0),
    an_error(1, cause=Cause.SIGNAL),
    a_loss(0),
    a_loss(1, counts=False, dead=True),
    DeadlinePassed(at=NOW, attempt=an_id(0)),
    DeadlinePassed(at=NOW, attempt=an_id(1)),
    a_save(1),
    a_resume(1, a_checkpoint()),
]
ANSWERS: list[Event] = [
    Judged(at=NOW, round=1, classes=(a_class(0, 1),)),
    Judged(at=NOW, round=1, classes=(a_class(0), a_class(1))),
    Judged(at=NOW, round=1, classes=(a_class(0),), unfit=((1, "torn"),)),
    Judged(at=NOW, round=1, classes=(a_class(0, 2),)),
    Judged(at=NOW, round=2, classes=(a_class(0, 1, 2),)),
    JudgingFailed(at=NOW, round=1, message="it died"),
    JudgingFailed(at=NOW, round=1, message="not now", transient=True),
]
WISHES: list[Event] = [
    Cancelled(at=NOW),
    Held(at=NOW),
    Released(at=NOW),
    Reprioritised(at=NOW, priority=3),
    Retried(at=NOW, result_name="again"),
    Retried(at=NOW, result_name="again", fresh=True),
    *(Accepted(at=NOW, replica=each, result_name="again") for each in (0, 1, 7)),
    *(Granted(at=NOW, replicas=each, result_name="again") for each in (0, 1)),
    GivenUp(at=NOW),
]
OTHERS: list[Event] = [
    the_first_ended(S.DONE, copied=True),
    the_first_ended(S.DONE),
    the_first_ended(S.FAILED),
    Resolved(at=NOW, predecessors=(FIRST,)),
    the_predecessors_succeeded(),
    a_predecessor_failed(),
    NameTaken(at=NOW, result_name="other"),
    Delivered(at=NOW),
]
EVENTS: list[Event] = [
    *(a_placement(0), a_placement(1), Started(at=NOW, attempt=an_id(0), started_at=WALL)),
    *NEWS,
    *ANSWERS,
    *WISHES,
    *OTHERS,
    Submitted(at=NOW, task=QUEUED),
    Assigned(at=NOW, agent=LOCAL, token=token(9), wall=WALL),
    Brought(at=NOW, saved=a_checkpoint()),
    Advanced(at=NOW, made=1),
    *OF_VOTES,
    *(ComparedLate(at=NOW, report=a_success(1), verdict=each) for each in FOUND),
]

Result = tuple[Task, tuple[Effect, ...]]


def outcome_of(task: Task, event: Event) -> Result | None:
    """What `event` makes of `task`; None if it cannot happen."""
    try:
        return step(task, event)
    except IllegalTransition:
        return None


def pairs() -> Iterator[tuple[Task, Event]]:
    return itertools.product(TASKS, EVENTS)


def test_the_samples_cover_all_its_states_and_all_events() -> None:
    assert {task.state for task in TASKS} == set(S) - {S.EXPANDING}
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_what_the_tables_do_not_have_changes_nothing_or_is_our_own_mistake() -> None:
    for task, event in pairs():
        kind, found = type(event), outcome_of(task, event)
        if is_ignored(task.state, kind):
            assert found is not None
            assert found[0] is task
            assert all(isinstance(each, Discard) for each in found[1])
        elif kind not in VOTING and (task.state, kind) not in TRANSITIONS:
            assert found is None


def test_only_what_we_do_ourselves_can_be_an_error() -> None:
    """What agents, users, validators and twins say may come at any moment."""
    impossible = {type(event) for task, event in pairs() if outcome_of(task, event) is None}
    assert impossible == {Delivered, NameTaken, *impossible_placements()}


def impossible_placements() -> set[type[Event]]:
    """A replica that runs, or reported, is never given another slot: the daemon would be wrong."""
    return {type(a_placement(0))}


def test_every_edge_leads_where_the_table_says_and_every_end_of_it_is_reached() -> None:
    found: dict[tuple[S, type[Event]], set[S]] = {}
    for task, event in pairs():
        edge = (task.state, type(event))
        result = outcome_of(task, event)
        if edge in TRANSITIONS and result is not None and result[0] is not task:
            found.setdefault(edge, set()).add(result[0].state)
    wanted = {edge: set(rule.to) for edge, rule in TRANSITIONS.items()}
    assert {edge: ends - found.get(edge, set()) for edge, ends in wanted.items()} == {
        edge: set() for edge in wanted
    }
    assert {edge: ends - wanted[edge] for edge, ends in found.items()} == {
        edge: set() for edge in found
    }


def test_every_edge_is_explained() -> None:
    for rule in TRANSITIONS.values():
        assert rule.apply.__doc__


# What it is like


def test_a_first_slot_has_it_run_and_the_vote_decides_when_it_ends() -> None:
    assert [each.state for each in (ONE_RUNS, BOTH_RUN, ONE_REPORTED)] == [S.RUNNING] * 3
    assert JUDGING.state is S.VALIDATING
    assert AGREED.state is S.DELIVERING
    assert AGREED.ending is not None
    assert AGREED.ending.staged == an_id(0)
    assert after(AGREED, Delivered(at=NOW)).state is S.DONE


def test_it_waits_for_a_slot_again_when_the_last_attempt_was_lost() -> None:
    assert after(ONE_RUNS, a_loss(0)).state is S.QUEUED


def test_the_hosts_of_those_that_agree_are_marked_in_the_step_that_decides() -> None:
    decided, effects = step(JUDGING, judged(JUDGING, a_class(0, 1)))
    scores = [effect for effect in effects if isinstance(effect, Score)]
    assert scores == [Score(a_spot(0), Mark.VALID), Score(a_spot(1), Mark.VALID)]
    again, more = step(decided, judged(JUDGING, a_class(0, 1)))
    assert again is decided
    assert more == ()


@pytest.mark.parametrize("trusted", [(True, True), (False, True), (False, False)])
def test_a_result_is_trusted_as_the_agent_was_that_brought_it(
    trusted: tuple[bool, bool],
) -> None:
    task = QUEUED
    for number in (0, 1):
        placed = a_placement(number, agent_trusted=trusted[number])
        task = after(task, placed, a_success(number))
    task = after(task, judged(task, a_class(0, 1)))
    assert ballot_of(task).canonical == 0
    assert task.ending is not None
    assert task.ending.trusted is trusted[0]


def test_a_missed_deadline_is_a_mark_and_a_replacement() -> None:
    silent, effects = step(ONE_REPORTED, DeadlinePassed(at=NOW, attempt=an_id(1)))
    assert effects == (Score(a_spot(1), Mark.SILENT),)
    assert len(ballot_of(silent).replicas) == 3


def test_holding_stops_what_runs_and_keeps_what_was_reported() -> None:
    held, effects = step(ONE_REPORTED, Held(at=NOW, by="me"))
    assert effects == (Stop(LOCAL, an_id(1)),)
    states = [each.state for each in ballot_of(held).replicas]
    assert states == [ReplicaState.REPORTED, ReplicaState.PENDING]
    assert ballot_of(held).replicas[1].losses == 0
    released = after(held, Released(at=NOW))
    assert released.state is S.QUEUED
    assert after(released, a_placement(1, 2)).state is S.RUNNING


def test_a_comparison_under_way_comes_to_its_end_while_the_task_is_held() -> None:
    held = after(JUDGING, Held(at=NOW))
    assert held.state is S.HELD
    assert after(held, Released(at=NOW)).state is S.VALIDATING
    assert after(held, judged(JUDGING, a_class(0, 1))).state is S.DELIVERING
    more = after(held, judged(JUDGING, a_class(0), a_class(1)))
    assert more.state is S.HELD
    assert after(more, Released(at=NOW)).state is S.QUEUED


def test_a_late_result_of_a_held_task_counts() -> None:
    held = after(BOTH_RUN, Held(at=NOW), a_success(0))
    assert held.state is S.HELD
    assert after(held, a_success(1)).ballot == replace(
        ballot_of(after(held, a_success(1))), phase=Phase.JUDGING
    )


def test_what_comes_before_the_delivery_is_compared_as_the_others_were() -> None:
    late, effects = step(LATE_AGREED, a_success(1))
    assert effects == (Judge(TASK, 2, (0, 1)),)
    compared, scores = step(late, judged(late, a_class(0), a_class(1)))
    assert scores[0] == Score(a_spot(1), Mark.INVALID)
    assert compared.ending is LATE_AGREED.ending


@pytest.mark.parametrize("verdict", FOUND)
def test_what_comes_after_it_marks_its_host_by_what_the_delivered_result_says(
    verdict: Verdict,
) -> None:
    done = after(LATE_AGREED, Delivered(at=NOW))
    assert step(done, a_success(1)) == (done, (Discard(an_id(1)),)), "no vote any more"
    late = ComparedLate(at=NOW, report=a_success(1), verdict=verdict)
    compared, effects = step(done, late)
    assert set(effects) == {
        Score(a_spot(1), Mark(verdict.value)),
        Discard(an_id(1)),
    }
    assert (compared.state, compared.ending) == (S.DONE, done.ending)
    assert ballot_of(compared).replicas[1].verdict is verdict
    assert step(compared, late) == (compared, ()), "once"


def test_what_comes_after_it_with_a_wrong_token_marks_nobody() -> None:
    done = after(LATE_AGREED, Delivered(at=NOW))
    forged = a_success(1, token="f" * 32)
    late = ComparedLate(at=NOW, report=forged, verdict=Verdict.INVALID)
    assert step(done, late) == (done, ())


def test_where_the_canonical_result_is_gone_a_late_one_marks_nobody() -> None:
    """It may be delivered while the comparison is under way."""
    late = after(LATE_AGREED, a_success(1))
    answer = judged(late, a_class(1), unfit=((0, "its result file is missing"),))
    compared, effects = step(late, answer)
    assert [each for each in effects if isinstance(each, Score)] == []
    assert ballot_of(compared).replicas[1].state is ReplicaState.CANCELLED
    assert compared.ending is LATE_AGREED.ending


def test_a_delivery_while_a_late_result_is_compared_ends_the_comparison() -> None:
    late = after(LATE_AGREED, a_success(1))
    done, effects = step(late, Delivered(at=NOW))
    assert Discard(an_id(1)) in effects
    assert ballot_of(done).asked == ()
    assert step(done, judged(late, a_class(0), a_class(1))) == (done, ())


@pytest.mark.parametrize(
    ("task", "cause", "blame"),
    [(GIVEN_UP, Cause.DISAGREEMENT, Blame.TASK), (FAULT, Cause.VALIDATOR, Blame.USER)],
    ids=["disagreement", "validator"],
)
def test_a_vote_that_is_given_up_fails_the_task_and_keeps_what_was_returned(
    task: Task, cause: Cause, blame: Blame
) -> None:
    failed, effects = step(task, Delivered(at=NOW))
    assert failed.ending is not None
    assert (failed.state, failed.ending.cause, failed.ending.blame) == (S.FAILED, cause, blame)
    assert effects[0] == Forget(failed, payload=False)
    assert an_id(0) in staged_results(ballot_of(failed))
    assert Discard(an_id(0)) not in owed(failed)


def test_somebody_may_decide_a_vote_that_was_given_up_and_it_is_delivered_anew() -> None:
    failed = after(GIVEN_UP, Delivered(at=NOW))
    accepted, effects = step(failed, Accepted(at=NOW, replica=0, by="me", result_name="again"))
    assert (accepted.state, accepted.result_name) == (S.DELIVERING, "again")
    assert accepted.ending is not None
    assert (accepted.ending.state, accepted.ending.staged) == (S.DONE, an_id(0))
    assert Deliver(accepted) in effects
    assert after(accepted, Delivered(at=NOW)).state is S.DONE


def test_or_have_more_replicas_made_which_are_compared_with_what_was_returned() -> None:
    failed = after(GIVEN_UP, Delivered(at=NOW))
    more = after(failed, Granted(at=NOW, replicas=1, result_name="again"))
    assert (more.state, more.result_name, more.ending) == (S.QUEUED, "again", None)
    judging = after(more, a_placement(2), a_success(2))
    assert judging.state is S.VALIDATING
    assert ballot_of(judging).asked == (0, 2)


@pytest.mark.parametrize("task", [AGREED, WITHDRAWN], ids=["done", "cancelled"])
def test_nobody_decides_what_is_decided(task: Task) -> None:
    ended = after(task, Delivered(at=NOW))
    for event in (Accepted(at=NOW, replica=1), Granted(at=NOW, replicas=1), GivenUp(at=NOW)):
        assert step(ended, event)[0] is ended


def test_an_adjudication_that_means_nothing_leaves_a_failed_task_alone() -> None:
    failed = after(GIVEN_UP, Delivered(at=NOW))
    for event in (
        Accepted(at=NOW, replica=1, result_name="again"),
        Accepted(at=NOW, replica=7, result_name="again"),
        Granted(at=NOW, replicas=0, result_name="again"),
    ):
        assert step(failed, event)[0] is failed


def test_a_retry_votes_anew_and_no_attempt_has_a_number_twice() -> None:
    failed = after(GIVEN_UP, Delivered(at=NOW))
    again, effects = step(failed, Retried(at=NOW, result_name="again"))
    assert Discard(an_id(0)) in effects
    assert [each.state for each in ballot_of(again).replicas] == [ReplicaState.PENDING] * 2
    running = after(again, a_placement(0, 2))
    assert ballot_of(running).replicas[0].attempt_id == an_id(0, 2)


def test_a_predecessor_that_failed_ends_it_without_a_vote() -> None:
    ended, effects = step(SUCCESSOR, a_predecessor_failed())
    assert ended.state is S.DELIVERING
    assert ballot_of(ended).phase is Phase.WITHDRAWN
    assert effects == (Deliver(ended),)


def test_the_result_of_its_twin_is_its_own() -> None:
    ended, _ = step(WAITS, the_first_ended(S.DONE, copied=True))
    assert ended.ending is not None
    assert ended.ending.staged == an_id(0, 0)
    assert after(WAITS, the_first_ended(S.FAILED)).state is S.QUEUED


# Everything that can be reached

START = [
    a_redundant_task(),
    a_redundant_task(a_wish(1, limit=2, max_errors=0, adaptive=True)),
    a_redundant_task(a_wish(2, limit=3, max_errors=0, adaptive=True, deadline_s=5.0)),
    replace(SUCCESSOR, twin_of=FIRST),
]
WORLD: list[Event] = [
    *(a_success(number) for number in (0, 1)),
    an_error(0),
    a_loss(1, dead=True),
    a_loss(0),
    DeadlinePassed(at=NOW, attempt=an_id(0)),
    *(Cancelled(at=NOW), Held(at=NOW), Released(at=NOW), GivenUp(at=NOW)),
    Accepted(at=NOW, replica=0, result_name="again"),
    Granted(at=NOW, replicas=1, result_name="again"),
    Retried(at=NOW, result_name="again"),
    *(the_first_ended(S.DONE, copied=True), the_first_ended(S.CANCELLED)),
    *(the_predecessors_succeeded(), a_predecessor_failed()),
    *(NameTaken(at=NOW, result_name="other"), Delivered(at=NOW)),
]
STEPS = 7  #: length of the stories
Edges = list[tuple[Task, Event, Task, tuple[Effect, ...]]]


def next_events(task: Task) -> Iterator[Event]:
    yield from WORLD
    ballot = ballot_of(task)
    for each in ballot.replicas[:3]:
        if each.state is ReplicaState.PENDING and task.state in VOTING[type(a_placement(0))]:
            yield a_placement(each.number, each.attempt + 1, trusted=True)
    if ballot.asked:
        alone = tuple(a_class(each) for each in ballot.asked)
        yield judged(task, a_class(*ballot.asked))
        yield judged(task, *alone)
        yield judged(task, *alone[1:], unfit=((ballot.asked[0], "torn"),))
        for transient in (True, False):
            yield JudgingFailed(
                at=NOW, round=ballot.round, message="it died", transient=transient
            )


def all_edges() -> Iterator[tuple[Task, Event, Task, tuple[Effect, ...]]]:
    """Each step of each story of STEPS events; what two stories share is told once."""
    seen = set(START)
    fresh = list(START)
    for _ in range(STEPS):
        reached = []
        for task in fresh:
            for event in next_events(task):
                result = outcome_of(task, event)
                if result is None:
                    continue
                yield task, event, *result
                if result[0] not in seen:
                    seen.add(result[0])
                    reached.append(result[0])
        fresh = reached


@pytest.fixture(scope="module")
def edges() -> Edges:
    found = list(all_edges())
    assert len(found) > 10_000
    assert {after.state for *_, after, _ in found} == set(S) - {S.EXPANDING}
    return found


def test_the_state_follows_from_the_vote(edges: Edges) -> None:
    for *_, after, _effects in edges:
        ballot = ballot_of(after)
        match after.state:
            case S.WAITING | S.HELD:
                assert not any(each.lease for each in ballot.replicas)
            case S.QUEUED | S.RUNNING | S.VALIDATING:
                assert after.state is state_of(ballot)
                assert ballot.phase in (Phase.OPEN, Phase.JUDGING)
            case _:
                assert ballot.phase not in (Phase.OPEN, Phase.JUDGING)


def test_nothing_of_an_attempt_stands_in_the_task_itself(edges: Edges) -> None:
    for *_, after, _effects in edges:
        assert (after.lease, after.attempt, after.history) == (None, 0, ())
        assert (after.failures, after.losses, after.saved) == (0, 0, None)


def test_an_ending_is_there_exactly_from_delivering_on_and_stays_as_it_is(edges: Edges) -> None:
    for before, event, after, _ in edges:
        ends = after.state is S.DELIVERING or after.state in FINAL
        assert (after.ending is not None) == ends
        if before.ending is not None and before.state is not S.FAILED:
            assert isinstance(event, Retried) or after.ending == before.ending


def test_what_is_ordered_is_owed_by_the_state_it_leads_to(edges: Edges) -> None:
    """But a stop, a mark (it is in the commit), and a comparison for a host's record only."""
    for _, event, after, effects in edges:
        orders = {each for each in effects if not isinstance(each, Stop | Score)}
        if after.state is S.DELIVERING:
            orders = {each for each in orders if not isinstance(each, Judge)}
        orders.discard(Discard(an_id(0, 0)))  # a twin's copy that came too late
        gone = {each for each in orders if isinstance(each, Discard)}
        if isinstance(event, Retried):  # their numbers are not counted again
            orders -= gone
        assert orders <= set(owed(after)), (event, after.state)


def test_a_replica_is_started_exactly_when_it_is_placed(edges: Edges) -> None:
    for _, event, after, effects in edges:
        starts = [each.replica.number for each in effects if isinstance(each, StartReplica)]
        placed = type(event) is type(a_placement(0))
        assert starts == ([event.replica] if placed else [])  # type: ignore[union-attr]
        assert not placed or after.state in (S.RUNNING, S.VALIDATING)


def test_a_result_is_ordered_once_for_each_decision(edges: Edges) -> None:
    for before, event, after, effects in edges:
        renamed = isinstance(event, NameTaken) and before.state is S.DELIVERING
        decided = after.state is S.DELIVERING and before.state is not S.DELIVERING
        delivers = [each for each in effects if isinstance(each, Deliver)]
        assert delivers == ([Deliver(after)] if decided or renamed else [])


def test_what_is_to_be_delivered_or_compared_is_never_thrown_away(edges: Edges) -> None:
    for *_, after, effects in edges:
        needed = set(staged_results(ballot_of(after)))
        if after.ending is not None and after.ending.staged is not None:
            needed.add(after.ending.staged)
        thrown = {
            each.attempt for each in (*effects, *owed(after)) if isinstance(each, Discard)
        }
        assert not needed & thrown


def test_there_is_no_way_out_of_an_end_but_by_hand(edges: Edges) -> None:
    for before, event, after, _ in edges:
        if before.state in FINAL and after is not before:
            assert isinstance(event, Retried | Accepted | Granted)
            assert before.state is not S.DONE
            assert isinstance(event, Retried) or before.state is S.FAILED


def test_a_second_telling_of_any_fact_changes_nothing(edges: Edges) -> None:
    ours = (type(a_placement(0)), NameTaken, Granted)
    for before, event, after, _ in edges:
        if after == before or isinstance(event, ours):
            continue
        again = outcome_of(after, event)
        assert again is None or again[0] == after, (before.state, event)
