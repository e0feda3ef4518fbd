"""The replicas that wait for a slot: their order, their lanes, and what rooms they may use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spoolmw.model.agent import Capacity
from spoolmw.model.events import Started
from spoolmw.model.ids import AgentName
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, ReplicaState, Spot
from spoolmw.model.spec import Place, Resources, Spec
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.independence import Apart, apart
from spoolmw.rules.pending import WHOLE, ReplicaQueue, pending
from spoolmw.rules.placement import Given, Room, assign
from spoolmw.rules.ready import ReadyQueue
from spoolmw.rules.replica import step as step_one
from spoolmw.rules.task import step
from spoolmw.rules.why import why
from tests.unit.rules.ballots import (
    NO_RETRY,
    a_ballot,
    a_placement,
    a_running_replica,
    a_spot,
    a_success,
    a_wish,
    after,
    all_reported,
    an_error,
    an_id,
)
from tests.unit.rules.builders import NOW, WALL, a_task


def a_vote(seq: int = 1, ballot: Ballot | None = None, **changes: Any) -> Task:
    """A task with redundancy; its ballot's replicas are all pending unless one is given."""
    own = a_task(seq=seq, **changes)
    ballot = ballot if ballot is not None else a_ballot()
    replicas = tuple(replace(each, task=own.id) for each in ballot.replicas)
    return replace(own, ballot=replace(ballot, task=own.id, replicas=replicas))


def a_room(number: int, slots: int = 1, **changes: Any) -> Room:
    """The room at the machine number so-and-so, as `a_spot` has it."""
    spot = a_spot(number)
    capacity = Capacity(
        slots=slots, host=spot.host, machine=spot.machine, owner=spot.owner, **changes
    )
    return Room(capacity)


def rooms(*made: Room) -> dict[AgentName, Room]:
    return {AgentName(room.capacity.host): room for room in made}


def a_queue(*tasks: Task) -> ReadyQueue:
    queue = ReadyQueue()
    for task in tasks:
        if task.ballot is None:
            queue.push(task, NOW)
        else:
            queue.replicas.put(task, NOW)
    return queue


def place(tasks: dict[str, Task], queue: ReadyQueue, where: dict[AgentName, Room]) -> list[str]:
    """Assign as the daemon does: what a placement makes of a vote is known before the next one."""
    placed: list[str] = []
    while given := assign(queue, where):
        for task_id, agent, replica in given:
            task = tasks[task_id]
            number = int(task_id[12:], 16)
            placed.append(f"{number}" if replica == WHOLE else f"{number}.{replica} {agent}")
            if replica != WHOLE:
                tasks[task_id], _ = step(task, placement(task, replica, where[agent]))
                queue.replicas.put(tasks[task_id], NOW)
        if given[-1][2] == WHOLE:
            break
    return placed


def placement(task: Task, replica: int, room: Room) -> Any:
    assert task.ballot is not None
    seat = apart(task.ballot, replica).seat(room.spot, room.capacity.slots)
    assert seat is not None
    attempt = task.ballot.replicas[replica].attempt + 1
    return a_placement(replica, attempt, spot=seat)


def placed(*tasks: Task, where: dict[AgentName, Room]) -> list[str]:
    return place({task.id: task for task in tasks}, a_queue(*tasks), where)


# Order and lanes


def test_each_pending_replica_waits_on_its_own() -> None:
    ballot = after(a_ballot(a_wish(3)), a_placement(1))
    assert set(pending(a_vote(ballot=ballot))) == {0, 2}


@pytest.mark.parametrize("state", [TaskState.HELD, TaskState.WAITING, TaskState.DELIVERING])
def test_nothing_waits_for_a_slot_of_a_task_that_may_not_go_on(state: TaskState) -> None:
    assert pending(replace(a_vote(), state=state)) == {}


def test_replicas_keep_the_tasks_order_and_their_own() -> None:
    second, first, urgent = a_vote(3), a_vote(2), a_vote(4, priority=1)
    where = rooms(*(a_room(number, slots=4) for number in range(3)))
    found = [each.partition(" ")[0] for each in placed(second, first, urgent, where=where)]
    assert found == ["4.0", "4.1", "2.0", "2.1", "3.0", "3.1"]


def test_a_replica_takes_its_turn_between_plain_tasks() -> None:
    where = rooms(a_room(0, slots=9))
    found = placed(a_task(seq=2), a_vote(3), a_task(seq=4), where=where)
    assert found == ["2", "3.0 pc00", "4"]


def test_a_replica_ends_a_pass_so_that_its_vote_is_known_before_the_next() -> None:
    queue = a_queue(a_vote(2), a_task(seq=3))
    given = assign(queue, rooms(a_room(0, slots=4)))
    assert [(int(task[12:], 16), replica) for task, _, replica in given] == [(2, 0)]


def test_a_backoff_keeps_one_replica_aside() -> None:
    ballot = a_ballot()
    late = replace(ballot.replicas[1], not_before=NOW + 5)
    queue = a_queue(a_vote(ballot=replace(ballot, replicas=(ballot.replicas[0], late))))
    assert (len(queue), queue.ready_count, queue.next_due()) == (2, 1, NOW + 5)
    assert queue.wake(NOW + 4.9) == 0
    assert queue.wake(NOW + 5) == 1
    assert (queue.ready_count, queue.next_due()) == (2, None)


def test_a_task_that_is_put_again_replaces_what_it_was() -> None:
    queue = a_queue(a_vote(2))
    queue.replicas.put(replace(a_vote(2), state=TaskState.HELD), NOW)
    assert len(queue) == 0
    assert assign(queue, rooms(a_room(0, slots=4))) == []


def test_forgotten_entries_do_not_pile_up() -> None:
    queue = ReplicaQueue()
    for priority in range(2_000):
        queue.put(replace(a_vote(2), priority=priority), NOW)
    [(_, lane)] = queue.lanes()
    assert len(lane) == 2
    assert len(lane._heap) < 200


# Where they may run


def test_two_replicas_of_a_task_never_share_a_host() -> None:
    assert placed(a_vote(2), where=rooms(a_room(0, slots=9))) == ["2.0 pc00"]


def test_two_agents_at_one_machine_are_one_host() -> None:
    one, other = a_room(0, slots=9), a_room(0, slots=9)
    where = {AgentName("lab"): one, AgentName("far"): other}
    assert len(placed(a_vote(2), where=where)) == 1


def test_one_without_a_host_closes_no_room_for_those_behind_it() -> None:
    ballot = after(a_ballot(), a_placement(0), a_success(0))
    where = rooms(a_room(0))
    assert placed(a_vote(2, ballot=ballot), a_task(seq=3), where=where) == ["3"]


def test_one_that_waits_for_its_host_closes_that_for_those_behind_it() -> None:
    """Else one that needs much would be starved by small ones, as with plain tasks."""
    wide = Spec(name="wide", resources=Resources(cpus=2))
    ballot = after(a_ballot(), a_placement(0), a_success(0))
    vote = a_vote(2, ballot, spec=wide)
    own, busy = a_room(0, slots=2), a_room(1, slots=2)
    busy.claim(Resources(), 0)
    there = Spec(name="small", place=Place(agents=("pc01",)))
    small, elsewhere = a_task(seq=3, spec=there), a_task(seq=4)
    assert placed(vote, small, elsewhere, where=rooms(own, busy)) == ["4"]
    busy.release(Resources(), 0)
    assert placed(vote, small, where=rooms(a_room(0), busy)) == ["2.1 pc01"]


def test_replicas_of_one_task_that_ask_for_different_memory_both_get_their_turn() -> None:
    ballot = a_ballot()
    grown = replace(ballot.replicas[1], memory_bytes=10)
    vote = a_vote(2, replace(ballot, replicas=(ballot.replicas[0], grown)))
    where = rooms(a_room(0), a_room(1))
    assert sorted(placed(vote, where=where)) == ["2.0 pc00", "2.1 pc01"]


def test_replicas_of_a_platform_go_where_the_first_one_runs() -> None:
    intel, arm = a_room(0, platform="x86"), a_room(1, platform="arm")
    other = a_room(2, platform="x86")
    task = a_vote(2, a_ballot(a_wish(alike="platform")))
    where = rooms(intel, other, arm)
    first = placed(task, where=where)
    assert first in (["2.0 pc00", "2.1 pc02"], ["2.0 pc01"])


def test_a_machine_seats_as_many_as_it_has_slots_where_slots_are_enough() -> None:
    task = a_vote(2, a_ballot(a_wish(3, distinct="slot")))
    assert placed(task, where=rooms(a_room(0, slots=2))) == ["2.0 pc00", "2.1 pc00"]


def test_hosts_of_one_owner_are_one_voter_where_owners_count() -> None:
    task = a_vote(2, a_ballot(a_wish(distinct="owner")))
    assert len(placed(task, where=rooms(a_room(0), a_room(1)))) == 1


def test_a_seat_is_where_nobody_sits() -> None:
    spot = Spot(machine="m")
    assert Apart("slot", frozenset({"slot 1 of m"})).seat(spot, 2) == replace(spot, slot="2")
    assert Apart("slot", frozenset({"slot 1 of m"})).seat(spot, 1) is None
    assert Apart("host", frozenset({"host m"})).seat(spot, 9) is None
    assert Apart("host", frozenset(), "arm").seat(spot, 9) is None
    assert Apart("host", frozenset({"host n"})).seat(spot, 9) is spot


def test_a_barred_room_takes_one_probe_and_no_plain_task() -> None:
    room = a_room(0, slots=4)
    room.barred, room.probes = "its host is paused", True
    assert placed(a_task(seq=2), where=rooms(room)) == []
    assert len(placed(a_vote(3), where=rooms(room))) == 1
    room.probes = False
    assert placed(a_vote(4), where=rooms(room)) == []


def test_a_room_counts_its_replicas() -> None:
    room = a_room(0, slots=4)
    placed(a_vote(2), a_task(seq=3), where=rooms(room))
    assert (room.attempts, room.replicas) == (2, 1)
    room.release(Resources(), 0, replica=True)
    assert (room.attempts, room.replicas) == (1, 0)


def test_an_agent_that_learns_late_where_an_attempt_runs_corrects_its_place() -> None:
    """Two replicas that turn out to have shared a machine have one vote."""
    started = Started(
        at=NOW, attempt=an_id(), started_at=WALL, host="node7", machine="machine 7"
    )
    after, _ = step_one(a_running_replica(), started, NO_RETRY)
    assert after.spot == replace(a_spot(), machine="machine 7", host="node7")
    reported, _ = step_one(after, a_success(machine="machine 8"), NO_RETRY)
    assert reported.spot == replace(a_spot(), machine="machine 8", host="node7")


def test_an_agent_that_does_not_say_where_leaves_the_place_as_it_was() -> None:
    started = Started(at=NOW, attempt=an_id(), started_at=WALL, host="pc00")
    after, _ = step_one(a_running_replica(), started, NO_RETRY)
    assert after.spot == a_spot()


# Why one waits


def reason(task: Task, *made: Room, now: float = NOW) -> str:
    return why(task, rooms(*made), a_queue(task), now=now)


def test_a_task_that_needs_another_host_names_those_it_tried() -> None:
    ballot = after(a_ballot(a_wish(3)), a_placement(0), a_success(0), a_placement(1))
    task = a_vote(2, ballot, state=TaskState.RUNNING)
    assert reason(task, a_room(0), a_room(1)) == (
        "needs a third host: tried pc00, pc01 (replica 1 runs on pc01, 1 reported)"
    )


def test_a_host_that_is_down_is_named_beside_those_it_tried() -> None:
    ballot = after(a_ballot(), a_placement(0), a_success(0))
    down = a_room(1, slots=0)
    down.trouble = "the runner died"
    assert reason(a_vote(2, ballot, state=TaskState.QUEUED), a_room(0), down) == (
        "needs a second host: tried pc00; pc01 can take nothing (the runner died) (1 reported)"
    )


def test_a_task_whose_replicas_failed_everywhere_says_of_what() -> None:
    ballot = after(a_ballot(), a_placement(0), an_error(0), a_placement(1))
    ballot = after(ballot, an_error(1, message="KeyError: 'x'\nmore"))
    assert reason(a_vote(2, ballot, state=TaskState.QUEUED), a_room(0), a_room(1)) == (
        "needs a third host: tried pc00, pc01 (2 failed, the last one: KeyError: 'x')"
    )


def test_a_task_whose_free_hosts_are_all_taken_says_what_is_taken() -> None:
    full = a_room(2)
    full.claim(Resources(), 0)
    ballot = after(a_ballot(), a_placement(0))
    task = a_vote(2, ballot, state=TaskState.RUNNING)
    assert reason(task, a_room(0), full) == (
        "is next: waits for 1 cpu on pc02 (1 of 1 taken) (replica 0 runs on pc00)"
    )


def test_a_task_all_of_whose_replicas_run_does_not_wait() -> None:
    ballot = after(a_ballot(), a_placement(0), a_placement(1))
    task = a_vote(2, ballot, state=TaskState.RUNNING)
    assert reason(task, a_room(0), a_room(1)) == (
        "does not wait: replica 0 runs on pc00, replica 1 runs on pc01"
    )


def test_a_task_in_validation_says_so() -> None:
    task = a_vote(2, all_reported(a_ballot()), state=TaskState.VALIDATING)
    assert reason(task) == "does not wait for a slot: its 2 results are being compared"
    assert task.ballot is not None
    again = replace(task.ballot, judge_after=NOW + 40, judge_failures=2)
    assert reason(replace(task, ballot=again)) == (
        "the validator is tried again in 40 s: 2 times it came to nothing"
    )


def test_a_host_that_is_paused_is_the_reason_where_no_other_is_left() -> None:
    room = a_room(0)
    room.barred = "its host is paused: too many faults"
    assert reason(a_vote(2), room) == "paused: pc00 (its host is paused: too many faults)"


def test_the_votes_before_a_task_are_counted() -> None:
    full = a_room(0)
    full.claim(Resources(), 0)
    task = a_task(seq=9)
    queue = a_queue(a_vote(2), a_vote(3), task)
    assert why(task, rooms(full), queue, now=NOW) == (
        "2 tasks go before it; 1 cpu on pc00 (1 of 1 taken)"
    )


# Whatever is put, placed and woken: as a sorted list would have it


class AgainstAList(RuleBasedStateMachine):
    """The queue gives what the first entry of a sorted list that may run somewhere would get."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ReadyQueue()
        self.tasks: dict[str, Task] = {}
        self.now = NOW

    @rule(
        seq=st.integers(1, 8),
        priority=st.integers(-1, 1),
        replicas=st.integers(1, 3),
        pause=st.sampled_from([0.0, 1.0, 3.0]),
    )
    def put(self, seq: int, priority: int, replicas: int, pause: float) -> None:
        ballot = a_ballot(replace(Redundancy(), quorum=2, target=replicas))
        each = tuple(replace(one, not_before=self.now + pause) for one in ballot.replicas)
        self._put(a_vote(seq, replace(ballot, replicas=each), priority=priority))

    def _put(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.queue.replicas.put(task, self.now)

    @rule(seq=st.integers(1, 8), state=st.sampled_from([TaskState.HELD, TaskState.QUEUED]))
    def hold_or_release(self, seq: int, state: TaskState) -> None:
        task = self.tasks.get(a_task(seq=seq).id)
        if task is not None:
            self._put(replace(task, state=state))

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.queue.wake(self.now)

    @rule(hosts=st.sets(st.integers(0, 3), min_size=1), slots=st.integers(1, 2))
    def assign(self, hosts: set[int], slots: int) -> None:
        where = rooms(*(a_room(number, slots) for number in sorted(hosts)))
        while True:
            expected = self._first(where)
            given = assign(self.queue, where)
            assert [(task, replica) for task, _, replica in given] == expected
            if not given:
                return
            self._placed(given[0], where)

    def _placed(self, given: Given, where: dict[AgentName, Room]) -> None:
        task_id, agent, replica = given
        task = self.tasks[task_id]
        after, _ = step(task, placement(task, replica, where[agent]))
        self._put(after)

    def _first(self, where: dict[AgentName, Room]) -> list[tuple[str, int]]:
        """Strictly in order; who waits for a full room closes all that it could use."""
        free = dict(where)
        for task, number in self.waiting():
            assert task.ballot is not None
            wanted = apart(task.ballot, number)
            able = [name for name in free if wanted.seat(free[name].spot, 9) is not None]
            if any(free[name].free_slots > 0 for name in able):
                return [(task.id, number)]
            for name in able:
                del free[name]
        return []

    def waiting(self) -> list[tuple[Task, int]]:
        open_ones = [task for task in self.tasks.values() if pending(task)]
        order = sorted(open_ones, key=lambda task: (-task.priority, task.seq))
        return [
            (task, each.number)
            for task in order
            if task.ballot is not None
            for each in task.ballot.replicas
            if each.state is ReplicaState.PENDING and each.not_before <= self.now
        ]

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.ready_count == len(self.waiting())
        assert len(self.queue) == sum(len(pending(task)) for task in self.tasks.values())


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
