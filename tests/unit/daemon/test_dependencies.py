"""Tasks that run after others, tick by tick: who is meant, what an end brings, what a crash leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spoolmw.daemon import waits
from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.rebuild import rebuild
from spoolmw.format.ids import new_task_id
from spoolmw.format.resultfile import read_trailer
from spoolmw.format.taskwriter import write
from spoolmw.model.task import Task, TaskState
from spoolmw.runner import results
from tests.support.bench import Bench


def drop(bench: Bench, name: str, /, *after: str, box: str = "", **keys: str) -> None:
    """Drop a script that is to run after others."""
    lines = [f"#SPOOLMW after = {json.dumps(after)}"] if after else []
    lines += [f'#SPOOLMW {key} = "{value}"' for key, value in keys.items()]
    folder = bench.layout.incoming / box
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["#!/bin/sh", *lines, "true", ""]), encoding="utf-8")


def drop_and_take(bench: Bench, name: str, /, *after: str, box: str = "", **keys: str) -> Task:
    """As `drop`, and its task once it is accepted."""
    before = {task.id for task in bench.parts.table}
    drop(bench, name, *after, box=box, **keys)
    bench.until(lambda: {task.id for task in bench.parts.table} - before)
    [task] = [task for task in bench.parts.table if task.id not in before]
    return task


def launched(bench: Bench) -> list[str]:
    return [launch.spec.name for launch in bench.agent.launched]


def finish(bench: Bench, name: str, *, ok: bool = True) -> None:
    """End the newest attempt of the task of this name, and see its result."""
    bench.until(lambda: name in launched(bench))
    attempt = [each.attempt for each in bench.agent.launched if each.spec.name == name][-1]
    ended = None if ok else results.failed("exit", "exit 3", exit_code=3)
    bench.agent.finish(attempt, ended)
    bench.until(lambda: bench.parts.table.get(attempt.task) is None)


def why(bench: Bench, task: Task) -> str:
    answer = bench.ask("why", id=task.id)
    assert isinstance(answer, dict)
    return str(answer["reason"])


def state(bench: Bench, task: Task) -> str:
    found = bench.parts.table.get(task.id) or bench.parts.journal.get(task.id)
    assert found is not None
    return found.state.value


def message(bench: Bench, name: str) -> str:
    return str(bench.trailer(name)["message"])


# What an end brings


def test_a_task_runs_after_its_predecessor_was_delivered(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one")
    assert why(bench, two) == f"waits for one ({one.id}), which is running"
    bench.ticks()
    assert launched(bench) == ["one"]
    finish(bench, "one")
    finish(bench, "two")
    assert bench.trailer("two")["state"] == "done"


def test_a_task_waits_for_all_of_several(bench: Bench) -> None:
    for name in ("a", "b"):
        drop_and_take(bench, name)
    drop_and_take(bench, "sum", "a", "b")
    finish(bench, "b")
    bench.ticks()
    assert "sum" not in launched(bench)
    finish(bench, "a")
    finish(bench, "sum")


def test_many_wait_for_one_and_are_told_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PIECE", 3)
    drop_and_take(bench, "one")
    for number in range(10):
        drop(bench, f"after-{number}", "one")
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 10)
    finish(bench, "one")
    assert bench.parts.table.states[TaskState.WAITING] == 7
    bench.until(lambda: not bench.parts.table.states[TaskState.WAITING])


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_predecessor_that_does_not_succeed_fails_all_behind_it_and_is_named(
    bench: Bench, end: str
) -> None:
    one = drop_and_take(bench, "one")
    drop_and_take(bench, "two", "one")
    drop_and_take(bench, "three", "two")
    if end == "failed":
        finish(bench, "one", ok=False)
    else:
        bench.ask("cancel", ids=[one.id])
    bench.until(lambda: bench.delivered("three"))
    for name in ("two", "three"):
        trailer = bench.trailer(name)
        assert (trailer["state"], trailer["cause"]) == ("failed", "predecessor")
        assert f"one ({one.id})" in str(trailer["message"])
        assert trailer["attempts"] == []
    assert launched(bench) == ["one"]


def test_a_failure_holds_one_that_asked_for_that(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one", after_failed="hold")
    finish(bench, "one", ok=False)
    bench.until(lambda: state(bench, two) == "held")
    assert why(bench, two).startswith(f"held: one ({one.id}) failed: exit 3")


def test_one_that_is_held_for_a_failure_goes_on_without_it_when_released(bench: Bench) -> None:
    drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one", after_failed="hold")
    finish(bench, "one", ok=False)
    bench.until(lambda: state(bench, two) == "held")
    bench.ask("release", ids=[two.id])
    finish(bench, "two")


def test_one_that_is_held_for_a_failure_stays_so_while_others_are_open(bench: Bench) -> None:
    drop_and_take(bench, "one")
    drop_and_take(bench, "other")
    two = drop_and_take(bench, "two", "one", "other", after_failed="hold")
    finish(bench, "one", ok=False)
    bench.until(lambda: state(bench, two) == "held")
    bench.ask("release", ids=[two.id])
    bench.ticks()
    assert state(bench, two) == "held"
    finish(bench, "other")
    bench.ask("release", ids=[two.id])
    finish(bench, "two")


def test_a_cancelled_successor_is_told_nothing(bench: Bench) -> None:
    drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one")
    bench.ask("cancel", ids=[two.id])
    bench.until(lambda: bench.delivered("two"))
    finish(bench, "one")
    bench.ticks()
    assert bench.trailer("two")["state"] == "cancelled"
    assert launched(bench) == ["one"]


def test_one_that_was_cancelled_and_is_retried_waits_once_for_each(bench: Bench) -> None:
    drop_and_take(bench, "a")
    drop_and_take(bench, "b")
    total = drop_and_take(bench, "sum", "a", "b")
    bench.ask("cancel", ids=[total.id])
    bench.until(lambda: state(bench, total) == "cancelled")
    bench.ask("retry", ids=[total.id])
    finish(bench, "a")
    bench.ticks()
    assert state(bench, total) == "waiting"
    finish(bench, "b")
    finish(bench, "sum")


# Who is meant


def test_a_name_means_the_task_that_was_accepted_last(bench: Bench) -> None:
    drop_and_take(bench, "one.a", name="one")
    newest = drop_and_take(bench, "one.b", name="one")
    two = drop_and_take(bench, "two", "one")
    assert two.predecessors == (newest.id,)


def test_a_name_means_a_task_that_ended_too(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    finish(bench, "one")
    two = drop_and_take(bench, "two", "one")
    assert two.predecessors == (one.id,)
    finish(bench, "two")


def test_a_name_means_a_task_in_the_same_box(bench: Bench) -> None:
    drop_and_take(bench, "one", box="theirs")
    two = drop_and_take(bench, "two", "one", box="mine")
    assert why(bench, two) == "waits for one, which nobody has dropped yet"
    one = drop_and_take(bench, "one", box="mine")
    bench.until(lambda: bench.parts.table.tasks[two.id].predecessors == (one.id,))


def test_a_key_comes_before_a_name(bench: Bench) -> None:
    drop_and_take(bench, "one")
    keyed = drop_and_take(bench, "other", key="one")
    two = drop_and_take(bench, "two", "one")
    assert two.predecessors == (keyed.id,)


def test_a_key_means_a_task_in_any_box(bench: Bench) -> None:
    keyed = drop_and_take(bench, "other", box="theirs", key="fold/1")
    two = drop_and_take(bench, "two", "fold/1", box="mine")
    assert two.predecessors == (keyed.id,)


def test_an_id_means_that_task_before_and_after_it_comes(bench: Bench) -> None:
    task_id = new_task_id()
    early = drop_and_take(bench, "early", task_id)
    assert why(bench, early) == f"waits for {task_id}, which nobody has dropped yet"
    header = {"id": task_id, "name": "one", "run": {"command": ["true"]}}
    (bench.layout.incoming / f"one-{task_id}.task").write_bytes(write(header, b""))
    bench.until(lambda: "one" in launched(bench))
    late = drop_and_take(bench, "late", task_id)
    assert late.predecessors == bench.parts.table.tasks[early.id].predecessors == (task_id,)
    finish(bench, "one")
    finish(bench, "early")
    finish(bench, "late")


def test_the_first_to_come_is_meant_where_nobody_was_known(bench: Bench) -> None:
    two = drop_and_take(bench, "two", "one")
    first = drop_and_take(bench, "one.a", name="one")
    drop_and_take(bench, "one.b", name="one")
    assert bench.parts.table.tasks[two.id].predecessors == (first.id,)


def test_a_chain_may_be_dropped_from_its_end(bench: Bench) -> None:
    for name, *after in (("d", "c"), ("c", "b"), ("b", "a"), ("a",)):
        drop_and_take(bench, name, *after)
    for name in "abcd":
        finish(bench, name)
    assert launched(bench) == list("abcd")


def test_a_task_may_run_after_an_earlier_one_of_its_own_name(bench: Bench) -> None:
    first = drop_and_take(bench, "night.1", name="night")
    second = drop_and_take(bench, "night.2", "night", name="night")
    assert second.predecessors == (first.id,)


def test_one_that_ended_so_long_ago_that_it_was_pruned_is_found_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = drop_and_take(bench, "one", key="fold/1")
    finish(bench, "one")
    bench.ticks()
    bench.parts.housekeeping.prune_tasks(wall_s() + 1)
    monkeypatch.setattr(waits, "LOG_AFTER_S", 0.0)
    by_key = drop_and_take(bench, "two", "fold/1")
    finish(bench, "two")
    by_id = drop_and_take(bench, "three", one.id)
    assert bench.parts.journal.get(one.id) is None
    monkeypatch.setattr(waits, "LOG_EVERY_S", 0.0)
    bench.parts.reactor.waits._search_at = 0.0
    finish(bench, "three")
    assert state(bench, by_key) == state(bench, by_id) == "done"


# Circles


def refused(bench: Bench, name: str) -> str:
    reason = bench.layout.rejected / f"{name}.reason"
    bench.until(reason.exists)
    return reason.read_text("utf-8")


@pytest.mark.parametrize("key", ["", "c-key"])
def test_a_circle_is_refused_when_it_closes_and_is_drawn(bench: Bench, key: str) -> None:
    drop_and_take(bench, "a", key or "c")
    drop_and_take(bench, "b", "a")
    drop(bench, "c", "b", **({"key": key} if key else {}))
    assert "c -> b -> a -> c (each waits for the one behind the arrow)" in refused(bench, "c")
    assert bench.parts.table.states[TaskState.WAITING] == 2


def test_a_task_that_waits_for_its_own_key_is_refused(bench: Bench) -> None:
    drop(bench, "a", "fold/1", key="fold/1")
    assert "a -> a" in refused(bench, "a")


def test_a_task_that_waits_for_its_own_name_is_refused_when_there_is_no_other(
    bench: Bench,
) -> None:
    drop(bench, "a", "a")
    assert "a -> a" in refused(bench, "a")


def test_a_circle_through_a_twin_is_refused(bench: Bench) -> None:
    """The second with a key waits for the first, so the first may not wait for the second."""
    task_id = new_task_id()
    drop_and_take(bench, "first", task_id, key="fold/1")
    header = {"id": task_id, "name": "twin", "key": "fold/1", "run": {"command": ["true"]}}
    (bench.layout.incoming / "twin.task").write_bytes(write(header, b""))
    assert "twin -> first -> twin" in refused(bench, "twin.task")


def test_a_long_circle_is_drawn_short(bench: Bench) -> None:
    for number in range(40):
        drop_and_take(bench, f"t{number}", f"t{number - 1}" if number else "last")
    drop(bench, "last", "t39")
    text = refused(bench, "last")
    assert "(31 more)" in text
    assert "last -> t39" in text


def test_a_diamond_is_no_circle(bench: Bench) -> None:
    drop_and_take(bench, "top")
    drop_and_take(bench, "left", "top")
    drop_and_take(bench, "right", "top")
    drop_and_take(bench, "bottom", "left", "right")
    for name in ("top", "left", "right", "bottom"):
        finish(bench, name)


# Retrying


def test_a_failed_successor_is_retried_only_after_the_culprit(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one")
    finish(bench, "one", ok=False)
    bench.until(lambda: bench.delivered("two"))
    bench.ticks()
    answer = bench.ask("retry", ids=[two.id])
    assert isinstance(answer, dict)
    assert "would have to be retried first: one" in answer["results"][0]["text"]
    bench.ask("retry", ids=[one.id])
    bench.ask("retry", ids=[two.id])
    assert state(bench, two) == "waiting"
    finish(bench, "one")
    finish(bench, "two")
    assert state(bench, two) == "done"


def test_a_culprit_is_retried_with_all_that_failed_or_are_held_for_it(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one")
    three = drop_and_take(bench, "three", "two")
    held = drop_and_take(bench, "held", "one", after_failed="hold")
    others = drop_and_take(bench, "others", "one", after_failed="hold")
    bench.ask("hold", ids=[others.id])
    finish(bench, "one", ok=False)
    bench.until(lambda: bench.delivered("three") and state(bench, held) == "held")
    bench.ticks()
    bench.ask("retry", ids=[one.id], successors=True)
    told = [state(bench, each) for each in (two, three, held, others)]
    assert told == ["waiting", "waiting", "waiting", "held"]
    for name in ("one", "two", "three", "held"):
        finish(bench, name)
    assert state(bench, others) == "held"


# Starting again


def test_a_restart_goes_on_waiting(bench: Bench) -> None:
    drop_and_take(bench, "one")
    drop_and_take(bench, "two", "one")
    three = drop_and_take(bench, "three", "two", "four")
    bench.close()
    bench.start()
    finish(bench, "one")
    finish(bench, "two")
    assert why(bench, three) == "waits for four, which nobody has dropped yet"
    drop_and_take(bench, "four")
    finish(bench, "four")
    finish(bench, "three")


def test_a_restart_tells_those_that_had_not_heard_of_an_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PIECE", 2)
    drop_and_take(bench, "one")
    for number in range(9):
        drop(bench, f"after-{number}", "one")
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING] == 9)
    finish(bench, "one")
    assert bench.parts.table.states[TaskState.WAITING] == 7
    bench.close()
    bench.start()
    bench.until(lambda: not bench.parts.table.states[TaskState.WAITING])


def test_a_restart_counts_an_end_that_was_published_and_not_yet_committed(
    bench: Bench,
) -> None:
    drop_and_take(bench, "a")
    drop_and_take(bench, "b")
    drop_and_take(bench, "sum", "a", "b")
    bench.until(lambda: len(bench.agent.launched) == 2)
    bench.agent.finish(bench.agent.launched[0].attempt)
    bench.until(lambda: bench.delivered("a"))
    bench.close()
    bench.start()
    assert bench.parts.reactor.owes()
    finish(bench, "b")
    finish(bench, "sum")


def test_a_restart_remembers_who_was_meant(bench: Bench) -> None:
    first = drop_and_take(bench, "one.a", name="one")
    two = drop_and_take(bench, "two", "one")
    drop_and_take(bench, "one.b", name="one")
    bench.close()
    bench.start()
    assert bench.parts.table.tasks[two.id].predecessors == (first.id,)


@pytest.mark.parametrize("ok", [True, False])
def test_a_rebuilt_journal_goes_on_waiting_for_the_same_task(bench: Bench, *, ok: bool) -> None:
    drop_and_take(bench, "one.a", name="one")
    two = drop_and_take(bench, "two", "one")
    done = drop_and_take(bench, "done")
    three = drop_and_take(bench, "three", "done")
    drop_and_take(bench, "one.b", name="one")
    finish(bench, "done", ok=ok)
    bench.ticks()
    bench.close()
    rebuild(bench.layout)
    bench.start()
    again = bench.parts.table.tasks[two.id]
    assert again.predecessors == two.predecessors
    assert again.state is TaskState.WAITING
    bench.until(lambda: state(bench, three) != "waiting")
    if ok:
        finish(bench, "three")
    else:
        bench.until(lambda: bench.delivered("three"))
        assert f"done ({done.id}) failed" in message(bench, "three")


def test_a_failed_successor_can_be_retried_after_a_rebuild(bench: Bench) -> None:
    one = drop_and_take(bench, "one")
    two = drop_and_take(bench, "two", "one", key="second")
    finish(bench, "one", ok=False)
    bench.until(lambda: state(bench, two) == "failed")
    bench.close()
    rebuild(bench.layout)
    bench.start()
    bench.ask("retry", ids=[one.id])
    bench.ask("retry", ids=[two.id])
    bench.until(lambda: bench.parts.table.tasks[two.id].predecessors == (one.id,))
    finish(bench, "one")
    finish(bench, "two")


# Values


def a_call(bench: Bench, name: str, *takes: str) -> str:
    """Drop a call whose arguments are the values of other tasks; its id."""
    task_id = new_task_id()
    header = {"id": task_id, "name": name}
    if takes:
        header |= {"after": list(takes), "takes": list(takes)}
    path: Path = bench.layout.incoming / f"{name}-{task_id}.task"
    half = bench.layout.tmp / path.name
    half.write_bytes(write(header, b"x"))
    half.rename(path)
    bench.until(lambda: bench.parts.table.get(task_id) is not None)
    return task_id


def take_results_away(bench: Bench) -> None:
    for path in bench.layout.results.glob("*.result"):
        path.unlink()


def kept(bench: Bench) -> set[str]:
    return {path.name for path in bench.layout.values.iterdir()}


def test_a_value_is_kept_for_its_successors_when_the_consumer_takes_the_result(
    bench: Bench,
) -> None:
    one = a_call(bench, "one")
    a_call(bench, "two", one)
    a_call(bench, "three", one)
    finish(bench, "one")
    take_results_away(bench)
    assert kept(bench) == {one}
    finish(bench, "two")
    assert kept(bench) == {one}
    finish(bench, "three")
    bench.ticks()
    assert kept(bench) == set()


def test_a_value_that_was_delivered_before_is_kept_too(bench: Bench) -> None:
    one = a_call(bench, "one")
    finish(bench, "one")
    a_call(bench, "two", one)
    take_results_away(bench)
    assert kept(bench) == {one}
    finish(bench, "two")


def test_a_value_that_was_taken_away_before_fails_who_takes_it(bench: Bench) -> None:
    one = a_call(bench, "one")
    finish(bench, "one")
    take_results_away(bench)
    two = new_task_id()
    header = {"id": two, "name": "two", "after": [one], "takes": [one]}
    (bench.layout.incoming / "two.task").write_bytes(write(header, b"x"))
    bench.until(lambda: bench.delivered("two"))
    trailer = bench.trailer("two")
    assert (trailer["cause"], trailer["blame"]) == ("gone", "user")
    assert f"the value of one ({one}) is gone" in str(trailer["message"])


@pytest.mark.parametrize("first", [True, False])
def test_a_predecessor_that_is_refused_fails_who_waits_for_its_id(
    bench: Bench, *, first: bool
) -> None:
    one = new_task_id()
    if first:
        a_call(bench, "two", one)
    (bench.layout.incoming / f"one-{one}.task").write_bytes(b"no task\n")
    refused(bench, f"one-{one}.task")
    if not first:
        drop(bench, "two", one)
    bench.until(lambda: list(bench.layout.results.glob("two*.result")))
    [path] = bench.layout.results.glob("two*.result")
    assert f"not run: one ({one}) failed: refused: " in str(read_trailer(path)["message"])


def test_nothing_is_kept_for_who_only_runs_after(bench: Bench) -> None:
    one = a_call(bench, "one")
    drop_and_take(bench, "two", one)
    finish(bench, "one")
    assert kept(bench) == set()


def test_the_value_stays_for_a_failed_successor_until_that_is_pruned(bench: Bench) -> None:
    one = a_call(bench, "one")
    two = a_call(bench, "two", one)
    finish(bench, "one")
    take_results_away(bench)
    finish(bench, "two", ok=False)
    bench.close()
    bench.start()
    assert kept(bench) == {one}
    bench.ask("retry", ids=[two])
    finish(bench, "two", ok=False)
    bench.ticks()
    bench.parts.housekeeping.prune_tasks(wall_s() + 1)
    assert kept(bench) == set()


def test_a_start_removes_values_that_nobody_takes_and_those_of_lost_attempts(
    bench: Bench,
) -> None:
    one = a_call(bench, "one")
    a_call(bench, "two", one)
    bench.close()
    for name in (one, new_task_id(), f".{one}"):
        (bench.layout.values / name).write_bytes(b"of a crash")
    bench.start()
    assert kept(bench) == set()
    finish(bench, "one")
    assert (bench.layout.values / one).read_bytes().startswith(b"SPOOLMW-RESULT 1\n")


def test_only_calls_take_values_and_only_of_predecessors(bench: Bench) -> None:
    known = new_task_id()
    base = {"id": new_task_id(), "name": "x"}
    (bench.layout.incoming / "a.task").write_bytes(write({**base, "takes": [known]}, b"x"))
    command = {"run": {"command": ["true"]}, "after": [known], "takes": [known]}
    (bench.layout.incoming / "b.task").write_bytes(write({**base, **command}, b""))
    assert "not in `after`" in refused(bench, "a.task")
    assert "only a Python call takes values" in refused(bench, "b.task")
