"""Validators in a process of their own: what they find, and what becomes of those that fail."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from spoolmw.runner import process, results
from spoolmw.runner.comparing import Wish
from spoolmw.runner.judge import Bounds, Judgement, as_tree, judge
from spoolmw.runner.results import Ended
from spoolmw.runner.staged import Returned
from tests.support.waiting import wait_until
from tests.unit.runner.returned import Stage

EXACT = Wish()


def crash(how: Callable[[], Any]) -> bool:
    """Die like this, without the pages that pytest would have it say."""
    faulthandler.disable()
    how()
    return True


QUICK = Bounds(step_s=0.5, total_s=20)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    folder = tmp_path / "stage"
    folder.mkdir()
    return Stage(folder)


def python(validate: Any, check: Any = None) -> Wish:
    return Wish(kind="python", code=cloudpickle.dumps((validate, check)))


def classes(judgement: Judgement) -> list[tuple[int, ...]]:
    assert not judgement.fault
    return [each.members for each in judgement.groups]


# exact


def test_equal_values_are_one_class_whatever_pickle_makes_of_them(stage: Stage) -> None:
    one = {"b": [1, 2.5], "a": {"x", "y", "z"}}
    two = {"a": {"z", "y", "x"}, "b": [1, 2.5]}
    other = {"a": {"z", "y", "x"}, "b": [1, 2.5000001]}
    found = judge(
        [
            stage.value(0, one, pickled=True),
            stage.value(1, two, pickled=True),
            stage.value(2, two),
            stage.value(3, other),
        ],
        EXACT,
    )
    assert classes(found) == [(0, 1, 2), (3,)]


def test_exact_tells_types_and_signs_apart(stage: Stage) -> None:
    found = judge(stage.values(1, 1.0, True, -0.0, 0.0, None, math.nan, math.nan), EXACT)
    assert classes(found) == [(0,), (1,), (2,), (3,), (4,), (5,), (6, 7)]


def test_arrays_are_compared_by_type_shape_and_bytes(stage: Stage) -> None:
    array = np.arange(6.0)
    found = judge(stage.values(array, array.copy(), array.reshape(2, 3)), EXACT)
    assert classes(found) == [(0, 1), (2,)]


def test_what_exact_cannot_write_is_said_and_no_result_is_blamed(stage: Stage) -> None:
    found = judge(stage.values(range(3), range(3), pickled=True), EXACT)
    assert "exact" in found.fault
    assert "python" in found.fault
    assert found.unfit == ()


def test_a_commands_result_is_its_files_and_what_it_printed(stage: Stage) -> None:
    found = judge(
        [
            stage.files(0, stdout="42\n", stderr="took 3 s", out__a="x"),
            stage.files(1, stdout="42\n", stderr="took 4 s", out__a="x"),
            stage.files(2, stdout="42\n", out__a="y"),
            stage.files(3, stdout="42\n", out__b="x"),
            stage.files(4, stdout="43\n", out__a="x"),
        ],
        Wish(kind="files"),
    )
    assert classes(found) == [(0, 1), (2,), (3,), (4,)]


def test_files_of_a_call_is_the_submitters_error(stage: Stage) -> None:
    assert "exact" in judge(stage.values(1, 1), Wish(kind="files")).fault


# close


def test_close_values_are_one_class_and_chains_are_broken(stage: Stage) -> None:
    close = Wish(kind="close", rtol=0.0, atol=1.0)
    found = judge(stage.values([0.0], [0.9], [1.8], [50.0]), close)
    assert as_tree(found)["classes"] == [
        [[0, 1], 1, [2]],
        [[2], 2, [1]],
        [[3], 3, []],
    ]


def test_what_close_cannot_compare_is_the_validators_fault(stage: Stage) -> None:
    found = judge(stage.values(range(3), range(3), pickled=True), Wish(kind="close"))
    assert "nobody said what close means" in found.fault


# Results that are none


@pytest.mark.parametrize("wish", [EXACT, Wish(kind="close")])
def test_beside_results_that_can_be_compared_one_that_cannot_is_only_different(
    stage: Stage, wish: Wish
) -> None:
    found = judge(stage.values(1.0, complex, 1.0, complex, {"a": object}, pickled=True), wish)
    assert classes(found) == [(0, 2), (1,), (3,), (4,)]


def test_a_damaged_result_is_unfit_and_the_others_are_compared(stage: Stage) -> None:
    returned = stage.values("a", "a", "a", "a", "a")
    Path(returned[0].path).unlink()
    Path(returned[1].path).write_bytes(Path(returned[1].path).read_bytes()[:-1])
    Path(returned[2].path).write_bytes(b"hello")
    found = judge(returned, EXACT)
    assert classes(found) == [(3, 4)]
    assert [number for number, _ in found.unfit] == [0, 1, 2]
    assert "missing" in dict(found.unfit)[0]


def test_a_flipped_bit_in_a_value_is_seen(stage: Stage) -> None:
    returned = stage.values("abc", "abc")
    data = bytearray(Path(returned[0].path).read_bytes())
    data[-2] ^= 1
    Path(returned[0].path).write_bytes(data)
    assert (
        dict(judge(returned, EXACT).unfit)[0]
        == "its value has another digest than its header says"
    )


def test_a_result_that_is_just_being_delivered_is_compared_without_its_trailer(
    stage: Stage,
) -> None:
    returned = stage.values("abc", "abc")
    path = Path(returned[0].path)
    path.write_bytes(path.read_bytes() + b'\n{"trailer": 1}\n')
    assert classes(judge(returned, EXACT)) == [(0, 1)]


@pytest.mark.parametrize("size", ["5", -1, 1.5, True, [1], 1 << 70])
def test_a_header_that_lies_about_the_length_spoils_only_its_own_result(
    stage: Stage, size: object
) -> None:
    returned = stage.values("abc", "abc", "abc")
    path = Path(returned[0].path)
    magic, head, rest = path.read_bytes().split(b"\n", 2)
    header = json.dumps({**json.loads(head), "bytes": size}).encode()
    path.write_bytes(b"\n".join((magic, header, rest)))
    found = judge(returned, EXACT)
    assert classes(found) == [(1, 2)]
    assert [number for number, _ in found.unfit] == [0]
    assert not found.fault


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))


def test_a_pickle_of_an_untrusted_host_is_never_decoded(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "decoded"
    trap = stage.value(0, Trap(str(mark)), pickled=True)._replace(trusted=False)
    found = judge([trap, stage.value(1, "a")], EXACT)
    assert dict(found.unfit)[0] == "its value is a pickle, and its host is not trusted"
    assert not mark.exists()


def test_a_failed_attempts_file_is_no_result(stage: Stage) -> None:
    failed = stage.ended(0, results.failed("exit", "no"))
    assert judge([failed], EXACT).unfit == ((0, "its result file does not tell of a success"),)


# python


def test_a_function_says_what_is_equal(stage: Stage) -> None:
    def same_length(one: list[int], two: list[int]) -> bool:
        return len(one) == len(two)

    found = judge(stage.values([1], [2], [3, 4]), python(same_length))
    assert classes(found) == [(0, 1), (2,)]


def test_and_a_second_one_what_is_a_result_at_all(stage: Stage) -> None:
    found = judge(
        stage.values(1, -1, 1),
        python(lambda one, two: one == two, check=lambda value: value > 0),
    )
    assert classes(found) == [(0, 2)]
    assert found.unfit == ((1, "check said that it is no result"),)


def test_numpys_truth_is_truth(stage: Stage) -> None:
    found = judge(stage.values(1.0, 1.0), python(lambda one, two: np.float64(one) == two))
    assert classes(found) == [(0, 1)]


def test_a_function_compares_the_folders_of_commands(stage: Stage) -> None:
    def same_words(one: str, two: str) -> bool:
        words = [Path(each, "stdout").read_text().split() for each in (one, two)]
        return words[0] == words[1]

    found = judge(
        [stage.files(0, stdout="a b"), stage.files(1, stdout="a  b\n")], python(same_words)
    )
    assert classes(found) == [(0, 1)]


FAULTS: list[tuple[Any, str]] = [
    (lambda one, two: one <= two, "replica 0 equals 1, but 1 does not equal 0"),
    (lambda one, two: one is None, "replica 0 is not equal to itself"),
    (lambda one, two: None, "returned a NoneType"),
    (lambda one, two: one.nothing, "validate raised AttributeError"),
    (lambda one, two: sys.exit(0), "it ended the process"),
    (lambda one, two: os._exit(0), "it ended the process (exit code 0)"),
    (lambda one, two: crash(os.abort), "it died of SIGABRT"),
    (lambda one, two: crash(lambda: ctypes.string_at(0)), "it died of SIGSEGV"),
    (lambda one, two: os.kill(os.getpid(), 9), "it died of SIGKILL"),
]


@pytest.mark.parametrize(("validate", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_a_validator_that_fails_is_at_fault_itself(
    stage: Stage, validate: Any, words: str
) -> None:
    found = judge(stage.values(1, 2, 3), python(validate))
    assert words in found.fault
    assert found.fault.startswith("the validator: ")
    assert (found.transient, found.unfit, found.groups) == (False, (), ())


def test_what_it_was_doing_when_it_crashed_is_told(stage: Stage) -> None:
    def crash_on_two(one: int, two: int) -> bool:
        if {one, two} == {10, 30}:
            crash(os.abort)
        return one == two

    found = judge(stage.values(10, 20, 30), python(crash_on_two))
    assert found.fault == "the validator: it died of SIGABRT while comparing replica 0 with 2"


def test_one_that_hangs_is_ended_with_all_that_it_started(stage: Stage, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def hang(one: int, two: int) -> bool:
        child = os.fork()
        if not child:
            os.setsid()
            time.sleep(600)
        pids.write_text(f"{os.getpid()} {child}")
        time.sleep(600)
        return True

    found = judge(stage.values(1, 2), python(hang), Bounds(step_s=3.0))
    assert (
        found.fault
        == "the validator: it took more than 3 s while comparing replica 0 with itself"
    )
    wait_until(lambda: not any(process._lives(pid) for pid in pids.read_text().split()))


def test_many_short_steps_may_not_take_for_ever_either(stage: Stage) -> None:
    def slow(one: int, two: int) -> bool:
        time.sleep(0.2)
        return True

    found = judge(stage.values(*range(12)), python(slow), Bounds(step_s=5, total_s=0.7))
    assert "more than 0.7 s" in found.fault


def test_one_that_eats_memory_is_ended_by_its_limit(stage: Stage) -> None:
    def eat(one: int, two: int) -> bool:
        return bool(bytearray(2 << 30))

    found = judge(stage.values(1, 2), python(eat), Bounds(memory_bytes=64 << 20))
    assert "MemoryError" in found.fault


def test_a_child_that_it_forks_and_that_comes_back_says_nothing(stage: Stage) -> None:
    def fork(one: int, two: int) -> bool:
        os.fork()
        return one == two

    assert classes(judge(stage.values(1, 1), python(fork))) == [(0, 1)]


def test_a_function_that_cannot_be_decoded_is_told(stage: Stage) -> None:
    found = judge(stage.values(1, 1), Wish(kind="python", code=b"nonsense"))
    assert "cannot be decoded here" in found.fault


# command


def program(folder: Path, text: str) -> Wish:
    path = folder / "compare"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return Wish(kind="command", command=("./compare",), folder=str(folder))


def test_a_program_gets_two_folders_and_its_status_is_its_word(
    stage: Stage, tmp_path: Path
) -> None:
    wish = program(tmp_path, 'cmp -s "$1/out" "$2/out"\n')
    returned = [stage.files(0, out="a"), stage.files(1, out="b"), stage.files(2, out="a")]
    assert classes(judge(returned, wish)) == [(0, 2), (1,)]


def test_of_a_call_it_gets_two_files_with_the_values(stage: Stage, tmp_path: Path) -> None:
    wish = program(tmp_path, 'cmp -s "$1" "$2"\n')
    assert classes(judge(stage.values([1], [2], [1]), wish)) == [(0, 2), (1,)]


def test_three_means_another_time(stage: Stage, tmp_path: Path) -> None:
    found = judge(stage.values(1, 1), program(tmp_path, "exit 3\n"))
    assert found.transient
    assert "exit code 3" in found.fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 2\n", "exit code 2"),
        ("kill -SEGV $$\n", "it died of signal 11"),
        (
            '[ "$1" = "$2" ] || case "$1" in *-0) exit 0;; *) exit 1;; esac\n',
            "contradicts itself",
        ),
        ("exit 1\n", "is not equal to itself"),
        ("sleep 600\n", "more than 0.5 s"),
    ],
)
def test_a_program_that_fails_is_at_fault_itself(
    stage: Stage, tmp_path: Path, text: str, words: str
) -> None:
    bounds = QUICK if "0.5 s" in words else None
    found = judge(stage.values(1, 2), program(tmp_path, text), bounds)
    assert words in found.fault
    assert not found.transient


def test_a_program_that_is_not_there_is_told(stage: Stage, tmp_path: Path) -> None:
    wish = Wish(kind="command", command=("./missing",), folder=str(tmp_path))
    assert "could not be started" in judge(stage.values(1, 2), wish).fault


# The judge itself


def test_no_process_and_no_descriptor_is_left(stage: Stage) -> None:
    before = (process.children(os.getpid()), sorted(os.listdir("/proc/self/fd")))
    for _ in range(5):
        judge(stage.values(1, 1), EXACT)
    assert (process.children(os.getpid()), sorted(os.listdir("/proc/self/fd"))) == before


def test_no_results_have_no_classes() -> None:
    assert judge([], EXACT) == Judgement()


def test_a_value_of_many_megabytes_is_judged(stage: Stage) -> None:
    big = np.zeros(4_000_000)
    assert classes(judge(stage.values(big, big), EXACT)) == [(0, 1)]


def test_a_result_whose_reading_crashes_is_told_by_its_number(stage: Stage) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (crash, (os.abort,))

    ended = Ended()
    ended.codec, ended.value = "pickle", [cloudpickle.dumps(Bomb())]
    bomb = stage.ended(1, ended, trusted=True)
    found = judge([stage.value(0, 1), bomb], EXACT)
    assert (
        found.fault == "the validator: it died of SIGABRT while reading the result of replica 1"
    )


def test_results_come_from_anywhere(stage: Stage) -> None:
    assert judge([Returned(7, "/nowhere")], EXACT).unfit == ((7, "its result file is missing"),)
