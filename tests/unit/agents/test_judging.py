"""Validations on the local agent: the submitter's own validators, and how they come to nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from spoolmw.model.agent import Launch
from spoolmw.model.replica import Class
from spoolmw.model.voting import Judged, JudgingFailed
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local


def nothing() -> None:
    return None


def code(validate: Callable[..., Any], check: Callable[..., Any] | None = None) -> bytes:
    """The pair of functions as the helper sends it."""
    return cloudpickle.dumps((validate, check))


def a_python_validation(local: Local, functions: bytes, *values: Any, **how: Any) -> Launch:
    work = local.call(nothing, code=functions)
    return local.judging(work, *values, kind="python", **how)


def answer(local: Local, work: Launch) -> Judged | JudgingFailed:
    local.agent.launch([work])
    return local.heard.answer_to(work)


def failure(local: Local, work: Launch) -> JudgingFailed:
    found = answer(local, work)
    assert isinstance(found, JudgingFailed)
    return found


def test_the_submitters_functions_come_from_the_end_of_the_tasks_body(shared: Local) -> None:
    functions = code(lambda a, b: a % 10 == b % 10, lambda value: value < 100)
    found = answer(shared, a_python_validation(shared, functions, 13, 23, 14, 103))
    assert isinstance(found, Judged)
    assert found.classes == (Class((0, 1), 0), Class((2,), 2))
    assert found.unfit == ((3, "check said that it is no result"),)


def test_a_call_with_such_functions_behind_it_runs_as_any_other(shared: Local) -> None:
    work = shared.call(lambda: 17, code=code(lambda a, b: a == b))
    shared.run(work)
    assert shared.value(work) == 17


def test_a_program_among_the_inputs_compares(shared: Local) -> None:
    text = b"#!/bin/sh\nexec cmp -s $1 $2\n"
    program = {"name": "same", "sha256": shared.input(text), "bytes": len(text)}
    work = shared.call(nothing, inputs=[{**program, "executable": True}])
    asked = shared.judging(work, "a", "b", "a", kind="command", command=("./same",))
    found = answer(shared, asked)
    assert isinstance(found, Judged)
    assert [each.members for each in found.classes] == [(0, 2), (1,)]


def test_the_next_task_finds_nothing_of_a_validation(shared: Local) -> None:
    text = b"#!/bin/sh\ntouch left; exit 0\n"
    program = {"name": "same", "sha256": shared.input(text), "bytes": len(text)}
    work = shared.call(nothing, inputs=[{**program, "executable": True}])
    answer(shared, shared.judging(work, 1, 1, kind="command", command=("./same",)))
    for _ in range(4):  # one for each worker that may have run it, and more
        looks = shared.call(lambda: os.listdir("."))
        shared.run(looks)
        assert shared.value(looks) == []


@pytest.mark.parametrize(
    ("validate", "what"),
    [
        (lambda a, b: os.kill(os.getpid(), signal.SIGSEGV), "died of SIGSEGV"),
        (lambda a, b: 1 / 0, "raised ZeroDivisionError"),
        (lambda a, b: a <= b, "contradicts itself"),
        (lambda a, b: time.sleep(60), "took more than 0.3 s"),
        (lambda a, b: os._exit(3), "ended the process (exit code 3)"),
    ],
)
def test_a_validator_that_fails_is_at_fault_and_the_worker_lives(
    shared: Local, validate: Callable[..., Any], what: str
) -> None:
    quick = {"step_s": 0.3} if "0.3 s" in what else {}
    asked = a_python_validation(shared, code(validate), 1, 2, **quick)
    found = failure(shared, asked)
    assert what in found.message
    assert not found.transient


def test_a_task_file_that_was_changed_is_said_to_be(shared: Local) -> None:
    work = shared.call(nothing)
    path = shared.root / work.path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "another digest" in failure(shared, shared.judging(work, 1, 1)).message


def test_without_its_task_file_it_is_tried_another_time(shared: Local) -> None:
    work = shared.call(nothing)
    (shared.root / work.path).unlink()
    found = failure(shared, shared.judging(work, 1, 1))
    assert found.transient
    assert "No such file" in found.message


def a_long_validation(local: Local, told: Path) -> Launch:
    def waits(a: Any, b: Any) -> bool:
        told.write_text(str(os.getppid()))
        time.sleep(60)
        return True

    return a_python_validation(local, code(waits), 1, 1)


def worker_of(told: Path) -> int:
    return wait_until(lambda: int(told.read_text() or "0") if told.exists() else 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_validation_whose_worker_dies_is_tried_another_time(
    local: Local, tmp_path: Path, number: signal.Signals
) -> None:
    asked = a_long_validation(local, tmp_path / "told")
    local.agent.launch([asked])
    os.kill(worker_of(tmp_path / "told"), number)
    found = local.heard.answer_to(asked)
    assert isinstance(found, JudgingFailed)
    assert found.transient
    assert "the validation was lost: " in found.message
    assert list((local.root / "stage").glob("*.1000.*")) == []


def test_a_validation_can_be_stopped_and_nothing_is_told_of_it(
    local: Local, tmp_path: Path
) -> None:
    asked = a_long_validation(local, tmp_path / "told")
    local.agent.launch([asked])
    worker = worker_of(tmp_path / "told")
    local.agent.stop([asked.attempt], is_wanted=False)
    wait_until(lambda: not Path(f"/proc/{worker}/stat").exists())
    work = local.call(nothing)
    local.run(work)
    assert local.heard.answers_to(asked) == []


def test_without_its_python_it_is_tried_another_time(shared: Local) -> None:
    work = shared.call(nothing, interpreter="/nowhere/python", python="3.99")
    found = failure(shared, shared.judging(work, 1, 1))
    assert found.transient
    assert "3.99" in found.message
    assert list((shared.root / "stage").glob(f"{work.attempt.task}.1000.*")) == []
