"""Who gets which room, and what a waiting task is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.model.agent import Capacity
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AgentName
from spoolmw.model.task import Task, TaskState
from spoolmw.rules.placement import Room, assign, memory_limit
from spoolmw.rules.ready import ReadyQueue
from spoolmw.rules.task import step
from spoolmw.rules.why import why
from tests.unit.rules.builders import (
    FIRST,
    LOCAL,
    NOW,
    TASK,
    a_delivering_task,
    a_demanding_task,
    a_failure,
    a_held_task,
    a_room,
    a_running_task,
    a_task,
    a_waiting_task,
    an_ended_task,
)

FAR = AgentName("far")
GB = 10**9


def a_queue(*tasks: Task) -> ReadyQueue:
    queue = ReadyQueue()
    for task in tasks:
        queue.push(task, NOW)
    return queue


def placed(*tasks: Task, **rooms: Room) -> list[tuple[int, str]]:
    """Who of `tasks` got a room, by the last digits of its id, and where."""
    given = assign(a_queue(*tasks), {AgentName(name): room for name, room in rooms.items()})
    return [(int(task[12:], 16), agent) for task, agent, _ in given]


def claim(room: Room, task: Task) -> None:
    room.claim(task.spec.resources, task.memory_bytes)


def release(room: Room, task: Task) -> None:
    room.release(task.spec.resources, task.memory_bytes)


def plain(count: int) -> list[Task]:
    return [a_task(seq=n) for n in range(2, count + 2)]


# Placement


def test_each_free_slot_gets_a_task() -> None:
    assert placed(*plain(5), local=a_room(2)) == [(2, "local"), (3, "local")]


def test_plain_tasks_may_also_wait_at_the_agent() -> None:
    assert len(placed(*plain(9), local=a_room(2, queue=4))) == 6


def test_other_tasks_start_only_where_a_slot_is_free() -> None:
    tasks = [a_demanding_task(n, memory=1) for n in range(2, 9)]
    assert len(placed(*tasks, local=a_room(2, queue=4))) == 2


def test_claimed_room_is_taken_until_it_is_released() -> None:
    room = a_room(1)
    task = a_task()
    queue = a_queue(task, a_task(seq=2))
    assert len(assign(queue, {LOCAL: room})) == 1
    assert assign(queue, {LOCAL: room}) == []
    release(room, task)
    assert len(assign(queue, {LOCAL: room})) == 1


def test_room_is_counted_back_to_nothing() -> None:
    room = a_room(8, memory=8 * GB, gpus=2)
    task = a_demanding_task(2, cpus=3, memory=GB, gpus=1)
    assign(a_queue(task), {LOCAL: room})
    assert (room.cpus, room.memory_bytes, room.gpus, room.attempts) == (3, GB, 1, 1)
    release(room, task)
    assert room == a_room(8, memory=8 * GB, gpus=2)


def test_memory_and_gpus_are_not_given_twice() -> None:
    room = a_room(8, memory=4 * GB, gpus=2)
    hungry = [a_demanding_task(n, memory=3 * GB) for n in (2, 3)]
    assert placed(*hungry, local=room) == [(2, "local")]
    fast = [a_demanding_task(n, gpus=1) for n in (4, 5, 6)]
    assert len(placed(*fast, local=a_room(8, gpus=2))) == 2


def test_an_agent_that_does_not_say_its_memory_is_taken_to_have_enough() -> None:
    assert len(placed(a_demanding_task(2, memory=999 * GB), local=a_room(1))) == 1


def test_a_task_that_needs_much_is_not_starved_by_small_ones() -> None:
    room = a_room(4)
    claim(room, a_task(seq=90))
    big = a_demanding_task(2, cpus=4)
    assert placed(big, *[a_task(seq=n) for n in (3, 4, 5)], local=room) == []


def test_nobody_waits_for_a_task_that_can_never_run_there() -> None:
    giant = a_demanding_task(2, cpus=64)
    assert placed(giant, a_task(seq=3), local=a_room(4)) == [(3, "local")]


def test_an_agent_that_is_full_for_one_does_not_close_the_others() -> None:
    full = a_room(4)
    claim(full, a_task(seq=90))
    big = a_demanding_task(2, cpus=4, agents=("local",))
    assert placed(big, a_task(seq=3), local=full, far=a_room(1)) == [(3, "far")]


def test_the_user_may_choose_the_agent() -> None:
    task = a_demanding_task(2, agents=("far",))
    assert placed(task, local=a_room(4), far=a_room(1)) == [(2, "far")]
    assert placed(task, local=a_room(4)) == []


def test_nothing_is_assigned_to_a_paused_agent() -> None:
    room = a_room(4)
    room.paused = "by ann"
    assert placed(a_task(seq=2), local=room) == []


def test_tasks_spread_over_the_agents_before_they_wait_at_one() -> None:
    found = placed(*plain(4), local=a_room(2, queue=10), far=a_room(2, queue=10))
    assert sorted(agent for _, agent in found) == ["far", "far", "local", "local"]


def test_memory_that_grew_by_retries_is_capped_by_what_the_agent_has() -> None:
    """Else a task that once ran out of memory could wait for ever, its caller with it."""
    task = replace(a_demanding_task(2, memory=3 * GB), memory_bytes=12 * GB)
    room = a_room(2, memory=8 * GB)
    assert placed(task, local=room) == [(2, "local")]
    assert memory_limit(task.memory_bytes, room) == 8 * GB
    assert memory_limit(task.memory_bytes, a_room(2)) == 12 * GB
    assert placed(task, local=room) == []  # all memory is taken now
    release(room, task)
    assert room.memory_bytes == 0


# The one true reason


def reason(task: Task, *others: Task, halted: str = "", **rooms: Room) -> str:
    queue = a_queue(*others, *([task] if task.state is TaskState.QUEUED else []))
    named = {AgentName(name): room for name, room in rooms.items()}
    return why(task, named, queue, now=NOW, halted=halted)


def test_a_held_task_says_how_to_release_it() -> None:
    assert reason(a_held_task()) == (
        f"held by the user; `spoolmw-ctl release {TASK}` lets it go on"
    )


def test_a_twin_names_the_one_it_waits_for() -> None:
    first = replace(a_running_task(), id=FIRST)
    text = why(a_waiting_task(), {}, ReadyQueue(), now=NOW, first=first)
    assert text == (
        f"waits for the task before it with the same key, {FIRST}, which is running"
    )


def test_a_backoff_names_its_rest_and_what_it_is_for() -> None:
    task, _ = step(a_running_task(), a_failure(Cause.SIGNAL, message="signal 11", jitter=0.0))
    assert reason(task, local=a_room()) == (
        "pauses for 10 s more after the error (signal) of attempt 1: signal 11"
    )


def test_a_daemon_that_drains_says_so() -> None:
    text = reason(a_task(), halted="it drains", local=a_room())
    assert text == "the daemon assigns nothing: it drains"


def test_a_paused_agent_is_the_reason_where_no_other_fits() -> None:
    room = a_room()
    room.paused = "by ann"
    assert reason(a_task(), local=room) == "paused: local (by ann)"


def test_demands_that_no_agent_can_meet_are_named_with_what_there_is() -> None:
    task = a_demanding_task(2, cpus=8, memory=64 * GB, gpus=1)
    assert reason(task, local=a_room(2, memory=16 * GB)) == (
        "no agent fits: it asks for 8 cpus, 64 GB of memory, 1 gpu; "
        "local has 2 slots, 16 GB of memory, 0 gpus"
    )


def test_an_agent_that_can_take_nothing_gives_its_reason() -> None:
    room = Room(Capacity(slots=0), trouble="the runner cannot be started")
    assert reason(a_task(), local=room) == (
        "no agent fits: it asks for 1 cpu; local can take nothing (the runner cannot be started)"
    )


def test_an_agent_that_is_not_there_is_named() -> None:
    task = a_demanding_task(2, agents=("condor",))
    text = "no agent fits: there is none of those it names (condor)"
    assert reason(task, local=a_room()) == text
    assert reason(a_task()) == "no agent fits: there is none"


def test_the_tasks_before_it_are_counted() -> None:
    room = a_room(2)
    claim(room, a_task(seq=90))
    claim(room, a_task(seq=91))
    others = [a_task(seq=n) for n in (2, 3)]
    assert reason(a_task(seq=9), *others, local=room) == (
        "2 tasks go before it; 1 cpu on local (2 of 2 taken)"
    )


def test_the_next_one_is_told_what_it_waits_for() -> None:
    room = a_room(4, memory=8 * GB, gpus=1)
    claim(room, a_demanding_task(90, cpus=1, memory=6 * GB, gpus=1))
    assert reason(a_demanding_task(2, cpus=4), local=room) == (
        "is next: waits for 4 cpus on local (1 of 4 taken)"
    )
    assert reason(a_demanding_task(2, gpus=1), local=room) == (
        "is next: waits for 1 gpu on local (1 of 1 taken)"
    )
    assert reason(a_demanding_task(2, memory=4 * GB), local=room) == (
        "is next: waits for 4 GB of memory on local (6 GB of 8 GB taken)"
    )


def test_who_waits_for_nothing_is_told_so() -> None:
    assert reason(a_task(), local=a_room()) == "is next: there is room and it starts at once"


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (a_running_task(2), "does not wait: attempt 2 runs on local"),
        (
            a_delivering_task(),
            "does not wait: its end is decided and the result is being delivered",
        ),
        (an_ended_task(TaskState.FAILED), "does not wait: it ended as failed"),
    ],
)
def test_who_does_not_wait_is_told_where_it_stands(task: Task, text: str) -> None:
    assert reason(task, local=a_room()) == text
