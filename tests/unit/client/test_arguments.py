"""Tasks as arguments: what stands in the file, what travels as a value, and which files stay."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool
from spoolmw.client.future import SpoolTask
from spoolmw.errors import BadTaskFile
from spoolmw.format.call import NotPicklable
from spoolmw.format.taskfile import TaskFile, read_header
from spoolmw.runner.arguments import Arguments
from tests.support.answering import AnsweringMachine
from tests.support.waiting import wait_until


def add(*numbers: int) -> int:
    return sum(numbers)


def same(value: Any) -> Any:
    return value


def dropped(machine: AnsweringMachine, task: SpoolTask) -> tuple[TaskFile, bytes]:
    """The file of a task that waits in `incoming/`, and its body."""
    data = (machine.layout.incoming / task.box / task.dropped).read_bytes()
    parsed = read_header(data, size=len(data), dropped=task.dropped)
    return parsed, data[parsed.body_offset :]


def call_in(machine: AnsweringMachine, task: SpoolTask, **values: Any) -> Any:
    """Function and arguments as the worker sees them, where predecessors have these values."""
    parsed, body = dropped(machine, task)
    arguments = Arguments("", parsed.spec.takes)
    arguments._values = values
    return arguments.load(body)


def test_a_task_that_runs_is_named_and_its_value_is_left_to_the_host(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(add, 1)
    two = spool.submit(add, one, 2)
    spec = dropped(machine, two)[0].spec
    assert spec.after == spec.takes == (one.id,)
    function, args, kwargs = call_in(machine, two, **{one.id: 40})
    assert (function(*args), kwargs) == (42, {})


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda t: [t, 1], [7, 1]),
        (lambda t: (t, [t]), (7, [7])),
        (lambda t: {"a": {"b": [t]}}, {"a": {"b": [7]}}),
        (lambda t: {t: 1}, {7: 1}),
    ],
)
def test_tasks_stand_for_their_values_at_whatever_depth(
    spool: Spool, machine: AnsweringMachine, wrap: Any, expected: Any
) -> None:
    one = spool.submit(add, 1)
    _, args, _ = call_in(machine, spool.submit(same, wrap(one)), **{one.id: 7})
    assert args == (expected,)


def test_keywords_and_maps_take_tasks_too(spool: Spool, machine: AnsweringMachine) -> None:
    one, two = spool.submit(add, 1), spool.submit(add, 2)
    _, _, kwargs = call_in(machine, spool.submit(same, value=one), **{one.id: 7})
    assert kwargs == {"value": 7}
    mapped = spool.map(same, [one, two], chunk=2)
    spec = dropped(machine, mapped.tasks[0])[0].spec
    assert spec.takes == (one.id, two.id)


def test_a_task_that_is_given_twice_is_one_object(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(add, 1)
    value = [7]
    _, args, _ = call_in(machine, spool.submit(same, (one, one)), **{one.id: value})
    assert args[0][0] is args[0][1] is value


def test_a_value_that_is_known_travels_itself(spool: Spool, machine: AnsweringMachine) -> None:
    one = spool.submit(add, 1)
    machine.answer()
    assert one.result(60) == 1
    two = spool.submit(add, one, 2)
    assert dropped(machine, two)[0].spec.after == ()
    function, args, _ = call_in(machine, two)
    assert function(*args) == 3


def test_one_that_raised_is_named_so_that_the_daemon_tells_the_culprit(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(int, "x")
    machine.answer()
    assert isinstance(one.exception(60), ValueError)
    assert dropped(machine, spool.submit(add, one))[0].spec.takes == (one.id,)


def test_a_result_that_was_read_stays_until_its_successors_have_ended(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(add, 1)
    two, three = spool.submit(add, one), spool.submit(add, one)
    machine.answer_one("", machine.layout.incoming / one.dropped)
    assert one.result(60) == 1
    assert one.path.exists()
    assert two.cancel()
    assert one.path.exists()
    assert three.cancel()
    wait_until(lambda: not one.path.exists())


def test_without_successors_a_result_goes_at_once(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(add, 1)
    machine.answer()
    assert one.result(60) == 1
    assert not one.path.exists()


def test_options_name_tasks_keys_and_names(spool: Spool, machine: AnsweringMachine) -> None:
    one, two = spool.submit(add, 1), spool.submit(add, 2)
    wishes = spool.options(after=[one, "fold/16", two.id], after_failed="hold")
    spec = dropped(machine, wishes.submit(add, two))[0].spec
    assert spec.after == (one.id, "fold/16", two.id)
    assert spec.takes == (two.id,)
    assert spec.after_failed == "hold"
    alone = spool.options(after=one).command(["true"])
    assert dropped(machine, alone)[0].spec.after == (one.id,)


@pytest.mark.parametrize("wrong", [7, [7], [""], {"after_failed": "explode"}])
def test_what_is_wrong_with_after_is_said_at_once(spool: Spool, wrong: Any) -> None:
    wishes = wrong if isinstance(wrong, dict) else {"after": wrong}
    with pytest.raises(BadTaskFile, match="'after"):
        spool.options(**wishes)


def test_more_predecessors_than_a_header_holds_are_refused(spool: Spool) -> None:
    with pytest.raises(BadTaskFile) as caught:
        spool.options(after=[f"fold-{number}" for number in range(1001)])
    assert "more than 1000" in str(caught.value)


def test_a_command_is_no_value(spool: Spool) -> None:
    program = spool.command(["true"])
    with pytest.raises(BadTaskFile, match="no value to take"):
        spool.submit(add, program)


def test_a_task_of_another_spool_is_refused(spool: Spool, tmp_path: Path) -> None:
    other = AnsweringMachine(tmp_path / "other")
    foreign = Spool(other.layout.root).submit(add, 1)
    with pytest.raises(BadTaskFile, match="another spool"):
        spool.submit(add, foreign)
    other.answer()
    foreign.result(60)


def test_a_function_that_uses_a_task_by_itself_is_refused_with_what_to_do(
    spool: Spool,
) -> None:
    one = spool.submit(add, 1)
    with pytest.raises(NotPicklable, match="as an argument"):
        spool.submit(lambda: add(one.result()))
    with pytest.raises(NotPicklable, match="as an argument"):
        spool.submit(lambda n: one.result(), one)


def test_a_task_cannot_be_pickled_otherwise(spool: Spool) -> None:
    with pytest.raises(TypeError, match="stands for its value"):
        pickle.dumps(spool.submit(add, 1))


def test_a_call_that_could_not_be_packed_keeps_nothing(
    spool: Spool, machine: AnsweringMachine
) -> None:
    one = spool.submit(add, 1)
    with pytest.raises(NotPicklable, match="argument 2 of add"):
        spool.submit(add, [one], threading.Lock())
    machine.answer()
    assert one.result(60) == 1
    assert not one.path.exists()
