"""What close means, and what it does not."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoolmw.runner.closeness import Tolerance, Uncomparable, close

TIGHT = Tolerance(1e-9, 0.0)
LOOSE = Tolerance(1e-3, 1e-6)
NAN, INF = math.nan, math.inf
Point = namedtuple("Point", "x y")

SAME: list[tuple[Any, Any]] = [
    (1, 1.0),
    (1.0, 1.0 + 1e-12),
    (0.0, -0.0),
    (NAN, NAN),
    (INF, INF),
    (complex(1, NAN), complex(1, NAN)),
    (1.0, 1 + 0j),
    (10**400, 10**400),
    (10**400, 10**400 + 10**300),
    (None, None),
    ("a", "a"),
    ([1.0, [2.0]], [1.0, [2.0 + 1e-12]]),
    ((1.0,), (1,)),
    ({"a": 1.0, "b": [NAN]}, {"b": [NAN], "a": 1.0 + 1e-13}),
    ({1, 2}, {2, 1}),
    (Point(1.0, 2), Point(1.0 + 1e-12, 2)),
    (np.float64(1.0), 1.0),
    (np.float32(0.5), np.float64(0.5)),
    (np.bool_(True), True),
    (np.array([1.0, NAN, INF]), np.array([1.0 + 1e-12, NAN, INF])),
    (np.array([1, 2]), np.array([1.0, 2.0])),
    (np.array([1 + 1j]), np.array([1 + 1j + 1e-12])),
    (np.array(["a"]), np.array(["a"])),
    (np.array(["NaT"], "M8[s]"), np.array(["NaT"], "M8[s]")),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (np.array(3.0), np.array(3.0)),
    (np.array([1.0, 2.0, 3.0])[::-1], np.array([3.0, 2.0, 1.0])),
]
DIFFERENT: list[tuple[Any, Any]] = [
    (1.0, 1.001),
    (1, True),
    (0, False),
    (NAN, 1.0),
    (NAN, INF),
    (INF, -INF),
    (INF, 1e308),
    (10**400, 1 + 1j),
    (10**400, INF),
    (10**400, -INF),
    (2**53, 2**53 + 2**30),
    ("a", b"a"),
    ([1.0], (1.0,)),
    ([1.0], [1.0, 2.0]),
    ({"a": 1}, {"b": 1}),
    ({1: "a"}, {1.0: "a"}),
    ({1: "a"}, {True: "a"}),
    ({"a": 1}, OrderedDict(a=1)),
    ({1.0}, {1.0 + 1e-12}),
    ({1}, frozenset({1})),
    (1.0, [1.0]),
    (np.array([1.0]), [1.0]),
    (np.array([1.0]), np.array([[1.0]])),
    (np.array([INF]), np.array([1e300])),
    (np.array([INF]), np.array([-INF])),
    (np.array([1, 0]), np.array([True, False])),
    (np.array(["a"]), np.array(["b"])),
    (np.array([1.0, 2.0]), np.array([2.0, 1.0])),
    (np.array([2**62], "i8"), np.array([2**62 + 2**34], "i8")),
]


@pytest.mark.parametrize(("one", "two"), SAME, ids=repr)
def test_these_are_close(one: Any, two: Any) -> None:
    assert close(one, two, TIGHT)
    assert close(two, one, TIGHT)


@pytest.mark.parametrize(("one", "two"), DIFFERENT, ids=repr)
def test_these_are_not(one: Any, two: Any) -> None:
    assert not close(one, two, TIGHT)
    assert not close(two, one, TIGHT)


def test_the_larger_of_the_two_tolerances_counts() -> None:
    assert close(1000.0, 1000.9, LOOSE)
    assert close(0.0, 1e-6, LOOSE)
    assert not close(0.0, 2e-6, LOOSE)


def test_it_is_not_transitive() -> None:
    assert close(1.0, 1.0009, LOOSE)
    assert close(1.0009, 1.0018, LOOSE)
    assert not close(1.0, 1.0018, LOOSE)


numbers = st.one_of(st.floats(), st.integers(-(2**80), 2**80))


@settings(max_examples=300, deadline=None)
@given(numbers, numbers, st.sampled_from([TIGHT, LOOSE, Tolerance(0.0, 0.0)]))
def test_numbers_are_close_as_the_formula_says(one: Any, two: Any, within: Tolerance) -> None:
    assert close(one, two, within) == close(two, one, within)
    assert close(one, one, within)
    if all(isinstance(each, int) or math.isfinite(each) for each in (one, two)):
        a, b = Fraction(one), Fraction(two)
        bound = max(Fraction(within.rtol) * max(abs(a), abs(b)), Fraction(within.atol))
        exact = abs(a - b) <= bound
        edge = abs(abs(a - b) - bound) <= bound * Fraction(1, 10**12)
        assert edge or close(one, two, within) == exact


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(), max_size=5), st.lists(st.floats(), max_size=5))
def test_arrays_are_close_where_their_lists_are(one: list[float], two: list[float]) -> None:
    for within in (TIGHT, LOOSE):
        assert close(np.array(one), np.array(two), within) == close(one, two, within)


class Own:
    """Something of the submitter's."""


@pytest.mark.parametrize(
    "value", [Own(), [Own()], {"a": Own()}, np.array([None]), {Own(): 1}, (1).__class__]
)
def test_of_what_nobody_said_what_close_means_it_is_not_guessed(value: Any) -> None:
    with pytest.raises(Uncomparable, match=r"python|cannot be compared|objects"):
        close(value, value, TIGHT)


def test_what_is_nested_too_deeply_is_not_compared() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Uncomparable, match="nested"):
        close(deep, deep, TIGHT)


def test_a_large_array_is_compared_in_blocks() -> None:
    one = np.linspace(0, 1, 3_000_000)
    two = one.copy()
    assert close(one, two, TIGHT)
    two[-1] += 1e-3
    assert not close(one, two, TIGHT)
