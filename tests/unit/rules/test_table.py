"""All states times all events, and all that can be reached: the machine keeps its promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import get_args

import pytest

from spoolmw.errors import IllegalTransition
from spoolmw.model.attempt import Blame, Cause, Outcome, Saved
from spoolmw.model.effects import Deliver, Discard, Effect, Start, Stop
from spoolmw.model.events import (
    Advanced,
    Assigned,
    Brought,
    Cancelled,
    Delivered,
    Event,
    Held,
    Lost,
    NameTaken,
    Released,
    Reported,
    Reprioritised,
    Resolved,
    Retried,
    Started,
    Submitted,
    TwinEnded,
)
from spoolmw.model.spec import Retry
from spoolmw.model.task import FINAL, Element, Tally, Task, TaskState
from spoolmw.rules.become import become
from spoolmw.rules.history import unwanted
from spoolmw.rules.task import TRANSITIONS, is_late, owed, step
from tests.unit.rules.ballots import OF_VOTES
from tests.unit.rules.builders import (
    FIRST,
    LOCAL,
    NOW,
    WALL,
    a_checkpoint,
    a_delivering_task,
    a_failure,
    a_held_task,
    a_loss,
    a_predecessor_failed,
    a_resume,
    a_running_task,
    a_save,
    a_spec_after,
    a_success,
    a_successor,
    a_task,
    a_waiting_task,
    an_array,
    an_attempt,
    an_ended_task,
    the_first_ended,
    the_predecessors_succeeded,
    token,
)

FAILED, CANCELLED = TaskState.FAILED, TaskState.CANCELLED

#: One task in each state, and some in which an older attempt could still report.
TASKS = [
    a_waiting_task(),
    a_successor(),
    a_successor(twin_of=FIRST),
    a_successor(spec=a_spec_after(after_failed="hold")),
    a_successor(state=TaskState.HELD),
    a_task(),
    a_held_task(),
    step(a_waiting_task(), Held(at=NOW))[0],
    a_running_task(),
    a_running_task(attempt=3, failures=2, losses=2),
    a_running_task(attempt=2, losses=1, saved=a_checkpoint(1, 2)),
    a_task(attempt=2, saved=a_checkpoint(2, 3)),
    step(a_running_task(), a_loss())[0],
    step(a_running_task(), Held(at=NOW))[0],
    step(
        step(a_running_task(), a_loss())[0],
        Assigned(at=NOW, agent=LOCAL, token=token(2), wall=WALL),
    )[0],
    *(a_delivering_task(state) for state in sorted(FINAL, key=str)),
    *(an_ended_task(state) for state in sorted(FINAL, key=str)),
    an_ended_task(TaskState.FAILED, spec=a_spec_after(), predecessors=(FIRST,)),
    an_ended_task(TaskState.CANCELLED, spec=a_spec_after(), predecessors=(FIRST,)),
    an_array(),
    an_array(made=3, done=2),
    an_array(made=3, done=3, state=TaskState.HELD),
    an_array(made=3, done=2, state=TaskState.HELD),
    an_array(state=TaskState.WAITING, twin_of=FIRST),
    an_array(state=TaskState.WAITING, waits=True, spec=a_spec_after(), predecessors=(FIRST,)),
    *(
        an_ended_task(state, tally=Tally(total=3, made=3, failed=3))
        for state in (FAILED, CANCELLED)
    ),
]

#: One event of each kind, and each kind of report, for the attempts 1 to 3.
EVENTS: list[Event] = [
    Submitted(at=NOW, task=a_task()),
    Assigned(at=NOW, agent=LOCAL, token=token(9), wall=WALL),
    Started(at=NOW, attempt=an_attempt(1), started_at=WALL),
    *(a_save(number, sequence) for number in (1, 2, 3) for sequence in (1, 2)),
    *(a_resume(number, saved) for number in (1, 2) for saved in (None, a_checkpoint(1, 1))),
    *(a_success(number) for number in (1, 2, 3)),
    a_success(1, token="f" * 32),
    *(a_failure(cause, number) for cause in (Cause.EXIT, Cause.SIGNAL) for number in (1, 3)),
    a_failure(blame=Blame.HOST),
    *(a_loss(number) for number in (1, 2, 3)),
    a_loss(cause=Cause.LAUNCH, blame=Blame.AGENT, counts=False, dead=True),
    the_first_ended(TaskState.DONE, copied=True),
    the_first_ended(TaskState.DONE),
    the_first_ended(TaskState.FAILED),
    Resolved(at=NOW, predecessors=(FIRST,)),
    the_predecessors_succeeded(),
    a_predecessor_failed(),
    Cancelled(at=NOW),
    Held(at=NOW),
    Released(at=NOW),
    Reprioritised(at=NOW, priority=3),
    Retried(at=NOW, result_name="again"),
    Retried(at=NOW, result_name="again", fresh=True),
    Brought(at=NOW, saved=Saved(0, 1, WALL, 5)),
    Advanced(at=NOW, made=1),
    Advanced(at=NOW, done=1),
    Advanced(at=NOW, broken="its file is gone"),
    NameTaken(at=NOW, result_name="other"),
    Delivered(at=NOW),
    *OF_VOTES,
]


def outcome_of(task: Task, event: Event) -> tuple[Task, tuple[Effect, ...]] | None:
    """What `event` makes of `task`; None if it cannot happen."""
    try:
        return step(task, event)
    except IllegalTransition:
        return None


def pairs() -> Iterator[tuple[Task, Event]]:
    return itertools.product(TASKS, EVENTS)


def test_the_samples_cover_all_states_and_all_events() -> None:
    assert {task.state for task in TASKS} == set(TaskState) - {TaskState.VALIDATING}
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_every_event_in_every_state_is_a_transition_an_error_or_late() -> None:
    for task, event in pairs():
        found = outcome_of(task, event)
        if is_late(task, event):
            assert found is not None
            assert found[0] is task
        elif (task.state, type(event)) in TRANSITIONS:
            assert found is not None
        else:
            assert found is None


def test_only_what_we_do_ourselves_can_be_an_error() -> None:
    """What agents, users and twins say may come at any moment and never stops the daemon."""
    impossible = {type(event) for task, event in pairs() if outcome_of(task, event) is None}
    assert impossible == {Assigned, NameTaken, Delivered}


def test_every_edge_leads_where_the_table_says_and_every_end_of_it_is_reached() -> None:
    found: dict[tuple[TaskState, type[Event]], set[TaskState]] = {}
    for task, event in pairs():
        result = outcome_of(task, event)
        if result is not None and not is_late(task, event):
            found.setdefault((task.state, type(event)), set()).add(result[0].state)
    assert found == {edge: set(rule.to) for edge, rule in TRANSITIONS.items()}


def test_every_edge_is_explained() -> None:
    for rule in TRANSITIONS.values():
        assert rule.apply.__doc__


def test_becoming_carries_every_field_over() -> None:
    """`become` writes the slots one by one: none may be forgotten."""
    task = a_running_task(
        attempt=3,
        box="b",
        body_sha256="s",
        priority=4,
        failures=1,
        losses=2,
        not_before=5.0,
        memory_bytes=6,
        history=a_delivering_task().history,
        predecessors=(FIRST,),
        saved=a_checkpoint(2, 2),
        since=2,
        tally=Tally(total=1),
        element=Element(FIRST, 0, 1),
    )
    after = become(task, task.state, lease=task.lease)
    assert after == task
    assert all(hasattr(after, each.name) for each in fields(Task))


# Everything that can be reached

#: What the world may say to one task. Reports name any of its first three attempts.
WORLD: list[Event] = [
    *(a_success(number) for number in (1, 2)),
    a_success(1, token=token(2)),
    a_failure(Cause.SIGNAL),
    a_failure(Cause.EXCEPTION),
    *(a_loss(number) for number in (1, 2, 3)),
    a_loss(1, counts=False, dead=True),
    *(a_save(number) for number in (1, 2)),
    the_first_ended(TaskState.DONE, copied=True),
    the_first_ended(TaskState.CANCELLED),
    Resolved(at=NOW, predecessors=(FIRST,)),
    the_predecessors_succeeded(),
    a_predecessor_failed(),
    Cancelled(at=NOW),
    Held(at=NOW),
    Released(at=NOW),
    Retried(at=NOW, result_name="again"),
    NameTaken(at=NOW, result_name="other"),
    Delivered(at=NOW),
]

START = [
    a_task(retry=Retry(max=1)),
    a_waiting_task(retry=Retry(max=1)),
    a_held_task(),
    a_successor(twin_of=FIRST),
    a_successor(spec=a_spec_after(after_failed="hold"), predecessors=("",)),
]
STEPS = 12  #: length of the stories; being given a slot is a step


def next_events(task: Task) -> Iterator[Event]:
    yield from WORLD
    number = task.attempt + 1
    yield Assigned(at=NOW, agent=LOCAL, token=token(number), wall=WALL)


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
                after, effects = result
                yield task, event, after, effects
                if after not in seen:
                    seen.add(after)
                    reached.append(after)
        fresh = reached


@pytest.fixture(scope="module")
def edges() -> list[tuple[Task, Event, Task, tuple[Effect, ...]]]:
    found = list(all_edges())
    assert len(found) > 10_000
    return found


Edges = list[tuple[Task, Event, Task, tuple[Effect, ...]]]


def test_a_lease_is_held_exactly_while_running_and_an_ending_exactly_from_delivering_on(
    edges: Edges,
) -> None:
    for *_, after, _effects in edges:
        assert (after.lease is not None) == (after.state is TaskState.RUNNING)
        ends = after.state is TaskState.DELIVERING or after.state in FINAL
        assert (after.ending is not None) == ends
        if after.state in FINAL:
            assert after.ending is not None
            assert after.ending.state is after.state
        if after.twin_of is not None:
            assert after.state in (TaskState.WAITING, TaskState.HELD)
        if after.waits:
            assert after.state in (TaskState.WAITING, TaskState.HELD)
            assert after.spec.after
        assert after.twin_of or after.waits or after.state is not TaskState.WAITING


def test_there_is_no_way_out_of_an_end_but_a_retry(edges: Edges) -> None:
    for task, event, after, _ in edges:
        if task.state in FINAL and after != task:
            assert isinstance(event, Retried)
            assert task.state is not TaskState.DONE


def test_what_is_decided_stays_decided(edges: Edges) -> None:
    for task, event, after, _ in edges:
        if task.ending is not None and not isinstance(event, Retried):
            assert after.ending == task.ending
            assert after.history == task.history


def test_attempts_are_only_ever_counted_up_and_only_by_an_assignment(edges: Edges) -> None:
    for task, event, after, _ in edges:
        assert after.attempt == task.attempt + isinstance(event, Assigned)


def test_each_ended_attempt_is_remembered_once_in_order(edges: Edges) -> None:
    for *_, after, _effects in edges:
        running = after.state is TaskState.RUNNING
        expected = list(range(1, after.attempt + (not running)))
        assert [ran.attempt for ran in after.history] == expected


def test_retries_and_losses_keep_their_limits(edges: Edges) -> None:
    for *_, after, _effects in edges:
        assert after.failures <= after.spec.retry.max + 1
        assert after.losses <= 10
        if after.state in (TaskState.QUEUED, TaskState.RUNNING):
            assert after.failures <= after.spec.retry.max
            assert after.losses < 10


def test_what_is_ordered_is_owed_by_the_state_it_leads_to(edges: Edges) -> None:
    for _, event, after, effects in edges:
        orders = {effect for effect in effects if not isinstance(effect, Stop)}
        if isinstance(event, TwinEnded):
            orders.discard(Discard(an_attempt(0)))  # a copy that came too late
        assert orders <= set(owed(after))


def test_a_start_is_ordered_exactly_when_an_attempt_begins(edges: Edges) -> None:
    for _, event, after, effects in edges:
        starts = [effect for effect in effects if isinstance(effect, Start)]
        assert starts == ([Start(after)] if isinstance(event, Assigned) else [])


def test_an_attempt_that_is_given_up_while_it_may_run_is_stopped(edges: Edges) -> None:
    for task, event, after, effects in edges:
        gave_up = task.lease is not None and after.lease is None
        ended_itself = (
            isinstance(event, Reported) and event.attempt == task.attempt_id
        ) or isinstance(event, Lost)
        stops = [effect for effect in effects if isinstance(effect, Stop)]
        is_wanted = after.state is TaskState.HELD  # only then it will run again
        expected = [task.attempt] if gave_up and not ended_itself else []
        if after.state is not task.state and after.state in (
            TaskState.HELD,
            TaskState.DELIVERING,
        ):
            expected += lost_but_not_dead(task, event)
        assert stops == [Stop(LOCAL, an_attempt(each), is_wanted) for each in expected]


def lost_but_not_dead(task: Task, event: Event) -> list[int]:
    """The attempts that may run on somewhere when a task is held or ends by `event`."""
    lost = [ran.attempt for ran in task.history if ran.token and ran.outcome is Outcome.LOST]
    if isinstance(event, Reported):
        return [each for each in lost if each != event.attempt.attempt]
    if isinstance(event, Lost) and not event.dead:
        return [*lost, event.attempt.attempt]
    return lost


def test_a_file_that_may_be_removed_is_never_delivered(edges: Edges) -> None:
    """Delivery takes a missing staged file for a delivered one, so this must never happen."""
    for task, _, after, _effects in edges:
        assert set(unwanted(task)) <= set(unwanted(after))
        if after.ending is not None and after.ending.staged is not None:
            assert after.ending.staged not in unwanted(after)


def test_a_result_is_ordered_once_for_each_decision(edges: Edges) -> None:
    for task, event, after, effects in edges:
        decided = task.ending is None and after.ending is not None
        renamed = isinstance(event, NameTaken) and task.state is TaskState.DELIVERING
        delivers = [effect for effect in effects if isinstance(effect, Deliver)]
        assert delivers == ([Deliver(after)] if decided or renamed else [])


def test_a_second_telling_of_any_fact_changes_nothing(edges: Edges) -> None:
    """But our own orders, and a new name for a result, which is another fact each time."""
    for task, event, after, _ in edges:
        if after == task or isinstance(event, Assigned | NameTaken):
            continue
        again = outcome_of(after, event)
        assert again is None or again[0] == after, (task.state, event)


def test_a_success_that_is_delivered_came_from_an_attempt_with_its_own_token(
    edges: Edges,
) -> None:
    for task, event, after, _ in edges:
        if isinstance(event, Reported) and after != task:
            assert event.token == token(event.attempt.attempt)
            if event.outcome is Outcome.SUCCESS:
                assert after.ending is not None
                assert after.ending.staged == event.attempt


def test_the_sections_of_the_specification_are_never_copied(edges: Edges) -> None:
    for task, _, after, _effects in edges:
        assert after.spec is task.spec
        assert replace(after, state=after.state) == after
