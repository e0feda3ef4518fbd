"""A function's pickle is remembered only while nothing that it is made of has changed."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from spoolmw.format.call import dump_call
from spoolmw.format.functions import remembered, travels_by_name

NUMBER = 1
NUMBERS = [1]


class Own:
    limit = 1


def plain(x: int = 2) -> int:
    return x + NUMBER


def helper(x: int) -> int:
    return x * NUMBER


def with_helper(x: int) -> float:
    return math.sqrt(helper(x))


def recursive(x: int) -> int:
    return x if x < 1 else recursive(x - 1)


def with_list() -> int:
    return NUMBERS[0]


def with_own_class() -> int:
    return Own.limit


def with_inner() -> int:
    return max([1], key=lambda each: each * NUMBER) * NUMBER


def annotated(x: Own) -> Own:
    return x


def keyword_only(*, x: int = 3) -> int:
    return x


def is_remembered(function: Callable[..., Any]) -> bool:
    first = remembered(function, cloudpickle.dumps)
    return first is not None and remembered(function, cloudpickle.dumps) is first


def call_again(function: Callable[..., Any], *args: object) -> Any:
    called, its_args, kwargs = pickle.loads(dump_call(function, args))
    return called(*its_args, **kwargs)


@pytest.mark.parametrize("function", [plain, helper, with_helper, recursive, with_inner])
def test_a_function_made_of_things_that_cannot_change_is_remembered(
    function: Callable[..., Any],
) -> None:
    assert is_remembered(function)


def test_what_is_remembered_is_the_function() -> None:
    for _ in range(2):
        assert call_again(plain, 4) == 5
        assert call_again(with_helper, 9) == 3.0
        assert call_again(recursive, 5) == 0


@pytest.mark.parametrize(
    "function", [with_list, with_own_class, keyword_only, math.sqrt, print, Own, json.dumps]
)
def test_what_may_change_or_travels_by_name_is_not(function: Callable[..., Any]) -> None:
    assert not is_remembered(function)


def test_a_closure_is_not() -> None:
    held = 1
    assert not is_remembered(lambda: held)


def test_a_changed_global_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_again(plain) == 3
    monkeypatch.setitem(globals(), "NUMBER", 10)
    assert call_again(plain) == 12
    assert call_again(with_inner) == 10


def test_a_changed_global_of_a_helper_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_again(with_helper, 4) == 2.0
    monkeypatch.setitem(globals(), "NUMBER", 4)
    assert call_again(with_helper, 4) == 4.0


def test_another_helper_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_again(with_helper, 4) == 2.0
    monkeypatch.setitem(globals(), "helper", lambda x: x * x)
    assert call_again(with_helper, 4) == 4.0


def test_other_defaults_and_other_code_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_again(plain) == 3
    monkeypatch.setattr(plain, "__defaults__", (5,))
    assert call_again(plain) == 6
    monkeypatch.setattr(plain, "__code__", (lambda x=0: -x).__code__)
    assert call_again(plain) == -5


def test_a_default_that_can_change_is_pickled_as_it_is_now() -> None:
    held = [1]

    def function(x: list[int] = held) -> int:
        return sum(x)

    assert call_again(function) == 1
    held.append(2)
    assert call_again(function) == 3


def test_an_attribute_is_seen() -> None:
    def function() -> Any:
        return function_attribute()

    def function_attribute() -> int:
        return 1

    assert call_again(function) == 1
    plain.extra = 1  # type: ignore[attr-defined]
    try:
        assert not is_remembered(plain)
    finally:
        del plain.extra  # type: ignore[attr-defined]
    assert is_remembered(plain)


def test_a_global_that_can_change_is_pickled_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert call_again(with_list) == 1
    monkeypatch.setitem(globals(), "NUMBERS", [7])
    assert call_again(with_list) == 7
    NUMBERS[0] = 8
    assert call_again(with_list) == 8


def test_a_new_function_in_the_place_of_an_old_one_is_not_taken_for_it() -> None:
    for number in range(300):
        namespace: dict[str, Any] = {}
        exec(f"def function(): return {number}", namespace)
        assert call_again(namespace["function"]) == number


def test_installed_things_travel_by_name_and_own_ones_do_not() -> None:
    assert travels_by_name(math)
    assert travels_by_name(math.sqrt)
    assert travels_by_name(json.dumps)
    assert travels_by_name(int)
    assert not travels_by_name(plain)
    assert not travels_by_name(Own)
    assert not travels_by_name(NUMBERS)
    assert not travels_by_name(lambda: 0)
