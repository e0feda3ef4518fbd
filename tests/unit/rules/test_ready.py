"""The order in which tasks get their turn, beside a plain sorted list as the oracle."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spoolmw.model.task import Task
from spoolmw.rules.pending import rank
from spoolmw.rules.placement import assign
from spoolmw.rules.ready import ReadyQueue, demand_of
from tests.unit.rules.builders import LOCAL, a_demanding_task, a_room, a_task

T0 = 100.0


def order_of(queue: ReadyQueue) -> list[str]:
    """Takes everything out, as a place with endless room would."""
    return [task for task, _, _ in assign(queue, {LOCAL: a_room(1_000_000)})]


def ids(*tasks: Task) -> list[str]:
    return [task.id for task in tasks]


def a_queue(*tasks: Task) -> ReadyQueue:
    queue = ReadyQueue()
    for task in tasks:
        queue.push(task, T0)
    return queue


def test_first_come_is_first_served() -> None:
    second, first = a_task(seq=2), a_task(seq=1)
    assert order_of(a_queue(second, first)) == ids(first, second)


def test_a_higher_priority_goes_first() -> None:
    low, normal, high = (a_task(seq=n + 2, priority=p) for n, p in enumerate((-1, 0, 5)))
    assert order_of(a_queue(low, normal, high)) == ids(high, normal, low)


def test_tasks_of_different_demand_keep_their_common_order() -> None:
    tasks = [a_demanding_task(n, cpus=n % 3 + 1) for n in range(1, 20)]
    assert order_of(a_queue(*reversed(tasks))) == ids(*tasks)


def test_a_discarded_task_is_gone() -> None:
    one, other = a_task(seq=1), a_task(seq=2)
    queue = a_queue(one, other)
    queue.discard(one)
    assert (len(queue), one in queue, other in queue) == (1, False, True)
    assert order_of(queue) == ids(other)


def test_discarding_what_is_not_there_is_no_error() -> None:
    queue = a_queue()
    queue.discard(a_task())
    assert len(queue) == 0


def test_a_task_pushed_twice_runs_once_and_where_its_newest_record_says() -> None:
    one, other = a_task(seq=1), a_task(seq=2)
    queue = a_queue(one, other)
    queue.push(replace(one, priority=-1), T0)
    assert order_of(queue) == ids(other, one)


def test_a_task_that_left_and_came_back_runs_once() -> None:
    one = a_task(seq=1)
    queue = a_queue(one)
    queue.discard(one)
    queue.push(one, T0)
    assert order_of(queue) == ids(one)
    assert order_of(queue) == []


def test_a_task_that_came_back_with_another_demand_is_judged_by_that() -> None:
    grown = a_demanding_task(1, memory=8_000)
    queue = a_queue(grown)
    queue.discard(grown)
    queue.push(replace(grown, memory_bytes=1_000), T0)
    (entry,) = queue.lanes()
    assert entry[1].demand.memory_bytes == 1_000


def test_a_backoff_keeps_a_task_aside_until_it_ends() -> None:
    early, late = a_task(seq=1, not_before=T0 + 5), a_task(seq=2)
    queue = a_queue(early, late)
    assert (len(queue), queue.ready_count, queue.next_due()) == (2, 1, T0 + 5)
    assert queue.wake(T0 + 4.9) == 0
    assert order_of(queue) == ids(late)
    assert queue.wake(T0 + 5) == 1
    assert queue.next_due() is None
    assert order_of(queue) == ids(early)


def test_a_task_that_left_during_its_backoff_does_not_wake() -> None:
    task = a_task(not_before=T0 + 5)
    queue = a_queue(task)
    queue.discard(task)
    assert queue.next_due() is None
    assert queue.wake(T0 + 9) == 0


def test_a_backoff_that_was_taken_back_is_forgotten() -> None:
    task = a_task(not_before=T0 + 5)
    queue = a_queue(task)
    queue.push(replace(task, not_before=0.0), T0)
    assert queue.wake(T0 + 9) == 0
    assert order_of(queue) == ids(task)


def test_a_backoff_that_grew_ends_when_the_newest_record_says() -> None:
    task = a_task(not_before=T0 + 5)
    queue = a_queue(task)
    queue.push(replace(task, not_before=T0 + 9), T0)
    assert queue.wake(T0 + 5) == 0
    assert queue.next_due() == T0 + 9


def test_the_tasks_before_one_are_counted_by_what_they_demand() -> None:
    tasks = [a_task(seq=n) for n in range(1, 5)] + [a_demanding_task(5, gpus=1)]
    queue = a_queue(*tasks, a_task(seq=6, priority=1))
    assert queue.count_before(tasks[3], lambda demand: True) == 4
    assert queue.count_before(tasks[4], lambda demand: demand.gpus > 0) == 0


def test_forgotten_entries_do_not_pile_up() -> None:
    queue = ReadyQueue()
    task = a_task()
    for priority in range(10_000):
        queue.push(replace(task, priority=priority), T0)
    (entry,) = queue.lanes()
    assert len(entry[1]) < 3_000


def test_a_waiting_task_costs_little_memory() -> None:
    tasks = [a_task(seq=n) for n in range(1, 20_001)]
    tracemalloc.start()
    queue = a_queue(*tasks)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(queue) == 20_000
    assert used / 20_000 < 150  # bytes for each, beside the task itself


class AgainstAList(RuleBasedStateMachine):
    """Whatever is pushed, changed and discarded: the queue gives what a sorted list would."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ReadyQueue()
        self.model: dict[int, Task] = {}
        self.now = T0

    @rule(
        seq=st.integers(1, 30),
        priority=st.integers(-2, 2),
        factor=st.integers(1, 2),
        pause=st.sampled_from([-1.0, 0.0, 1.0, 3.0]),
    )
    def push(self, seq: int, priority: int, factor: int, pause: float) -> None:
        """What a user asked for never changes; the memory that is asked for now may."""
        memory = seq % 3 * 10
        task = a_demanding_task(
            seq,
            cpus=seq % 2 + 1,
            memory=memory,
            priority=priority,
            not_before=self.now + pause,
            memory_bytes=memory * factor,
        )
        self.queue.push(task, self.now)
        self.model[seq] = task

    @rule(seq=st.integers(1, 30))
    def discard(self, seq: int) -> None:
        self.queue.discard(self.model.pop(seq, a_task(seq=seq)))

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.queue.wake(self.now)

    @rule(slots=st.integers(1, 6))
    def assign(self, slots: int) -> None:
        """Strictly in order, until the first one that does not fit."""
        expected = []
        free = slots
        for task in self.waiting():
            free -= task.spec.resources.cpus
            if free < 0 or task.spec.resources.cpus > slots:
                if task.spec.resources.cpus > slots:
                    free += task.spec.resources.cpus
                    continue  # could never run there: nobody waits for it
                break
            expected.append(task)
        given = assign(self.queue, {LOCAL: a_room(slots)})
        assert [task for task, _, _ in given] == ids(*expected)
        for task in expected:
            del self.model[task.seq]

    def waiting(self) -> list[Task]:
        ready = [task for task in self.model.values() if task.not_before <= self.now]
        return sorted(ready, key=rank)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.model)
        assert self.queue.ready_count == len(self.waiting())
        later = [t.not_before for t in self.model.values() if t.not_before > self.now]
        assert self.queue.next_due() == min(later, default=None)

    @invariant()
    def lanes_hold_what_they_say(self) -> None:
        heads = {demand_of(task): rank(task) for task in reversed(self.waiting())}
        assert {lane.demand: head for head, lane in self.queue.lanes()} == heads


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
