"""The `safe` codec: values come back as they were, equal values have equal bytes, nothing runs."""

from __future__ import annotations

import ast
import contextlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from spoolmw.runner import safe
from spoolmw.runner.safe import Unsafe, dumps, dumps_if_unchanged, fits, loads

KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.frozensets(st.integers(), max_size=3),
)
SCALARS = st.one_of(
    KEYS, st.floats(), st.complex_numbers(), st.integers(-(2**80), 2**80), st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=12,
)
ARRAYS = st_numpy.arrays(
    st.one_of(
        st_numpy.boolean_dtypes(),
        st_numpy.integer_dtypes(),
        st_numpy.floating_dtypes(sizes=(16, 32, 64)),
        st_numpy.complex_number_dtypes(sizes=(64, 128)),
        st_numpy.unicode_string_dtypes(max_len=4),
        st_numpy.byte_string_dtypes(max_len=4),
    ),
    st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def same(one: Any, two: Any) -> bool:
    """Whether nothing can tell the two apart: types, signs of zero, and order of keys."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", two) or (one != one and two != two)
    if isinstance(one, complex):
        return same(one.real, two.real) and same(one.imag, two.imag)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return same(list(one.items()), list(two.items()))
    if isinstance(one, (set, frozenset)):
        return {dumps(each) for each in one} == {dumps(each) for each in two}
    return bool(one == two)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_a_value_that_fits_comes_back_exactly(value: Any) -> None:
    data = dumps_if_unchanged(value)
    if data is not None:
        assert same(loads(data), value)
        assert data == dumps(value)


@settings(max_examples=120, deadline=None)
@given(VALUES)
def test_whatever_is_read_is_written_as_the_same_bytes(value: Any) -> None:
    data = dumps(value)
    assert dumps(loads(data)) == data


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(st.one_of(KEYS, st.text(max_size=4)), st.integers(), max_size=6),
    st.randoms(),
)
def test_the_order_of_keys_does_not_show(value: dict[Any, Any], random: Any) -> None:
    pairs = list(value.items())
    random.shuffle(pairs)
    assert dumps(dict(pairs)) == dumps(value)


@settings(max_examples=150, deadline=None)
@given(ARRAYS)
def test_an_array_comes_back_with_type_shape_and_bytes(array: Any) -> None:
    again = loads(dumps(array))
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert again.flags.writeable
    assert dumps(again) == dumps(array)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_different_values_have_different_bytes(one: Any, two: Any) -> None:
    if dumps(one) == dumps(two):
        assert one == two or repr(one) == repr(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [(1, 1.0), (1, True), (0, False), (0.0, -0.0), ("1", 1), (b"a", "a"), ([], ()),
     (set(), frozenset()), ({}, set()), (None, "null"), (0j, 0.0), (-0j, 0j),
     ([1, 2], (1, 2)), ({"a": 1}, [["a", 1]]), ({"~tuple": [1]}, (1,)), (float("inf"), "inf"),
     (np.float64(1), 1.0), (np.array(1), np.int64(1)), (np.array([1]), [1]),
     (np.array([1.0]), np.array([1.0], "f4")), (np.array([0.0]), np.array([-0.0])),
     (np.zeros((2, 3)), np.zeros((3, 2)))],
)  # fmt: skip
def test_what_differs_in_type_or_sign_differs_in_bytes(one: object, two: object) -> None:
    assert dumps(one) != dumps(two)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e300, 5e-324, math.inf, -math.inf,
     1 + 2j, complex("nan-infj"), "", "größe\n\x00\u2028", b"", b"\n{}\x00", [], (), {}, set(),
     frozenset({1}), {"a": [1, (2, {3})]}, {"~dict": 1}, {"~tuple": []}, {(1, "a"): b"x"},
     [b"one", {"k": b"two"}], "~tuple", np.float32(1.5), np.bool_(True), np.datetime64("2026-01-01", "s"),
     np.str_("ab")],
)  # fmt: skip
def test_these_come_back_as_they_were(value: object) -> None:
    data = dumps_if_unchanged(value)
    assert data is not None
    again = loads(data)
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    assert repr(loads(memoryview(data))) == repr(value)


class Listy(list):  # type: ignore[type-arg]
    pass


SHARED: list[int] = [1]


@pytest.mark.parametrize(
    "value",
    [object(), Listy(), {"b": 1, "a": 2}, [SHARED, SHARED], {2: 0, 1: 0}, int, len, bytearray(b"x"),
     range(3), "\ud800", ["\ud800"], {"\ud800": 1}, np.array([object()]), np.array([1, 2, 3])[::2],
     np.asfortranarray(np.zeros((2, 3))), np.zeros(2, "f4,f4"), np.ma.array([1]),
     np.matrix([[1]]) if hasattr(np, "never") else memoryview(b"x"), 3 .__class__],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_would_not_come_back_as_it_was_does_not_fit(value: object) -> None:
    assert not fits(value)
    assert dumps_if_unchanged(value) is None


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    assert not fits(value)
    with pytest.raises(Unsafe, match="contains itself"):
        dumps(value)


def test_shared_parts_are_written_twice_when_asked_for() -> None:
    assert loads(dumps([SHARED, SHARED])) == [[1], [1]]


def test_a_small_value_that_would_be_enormous_when_written_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spoolmw.runner.safe_write.MOST_VALUES", 10_000)
    value: list[Any] = [0]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(Unsafe, match="parts"):
        dumps(value)


@pytest.mark.parametrize("depth", [101, 100_000])
def test_deep_nesting_is_refused_on_both_sides(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(Unsafe):
        dumps(value)
    assert not fits(value)
    while value:
        value = value.pop()
    with pytest.raises(Unsafe, match="deeply"):
        loads(b"[" * 100_000)


def test_the_reason_names_the_type() -> None:
    with pytest.raises(Unsafe, match=r"builtins\.object"):
        dumps([object()])


def test_arrays_in_another_memory_order_are_written_when_asked_for() -> None:
    array = np.arange(6).reshape(2, 3)
    assert dumps(np.asfortranarray(array)) == dumps(array)
    assert dumps(array[:, ::-1]) == dumps(array[:, ::-1].copy())


def test_pieces_share_the_memory_of_an_array() -> None:
    array = np.zeros(1000)
    pieces = safe.parts([array])
    array[0] = 1.0
    assert loads(b"".join(pieces))[0][0] == 1.0


BAD = [
    b"", b" ", b"{", b"nul", b"NaN", b"[Infinity]", b"1 2", b"\xff", b'"\xff"', b"[1]\n", b"1\nabc",
    b'{"a":1,"a":2}', b'{"~what":1}', b'{"~tuple":1}', b'{"~tuple":[1],"a":2}', b'{"a":2,"~b":1}',
    b'{"~set":[[1]]}', b'{"~set":[1,1]}', b'{"~dict":[[1]]}', b'{"~dict":[1]}', b'{"~dict":{}}',
    b'{"~dict":[[[1],2]]}', b'{"~dict":[[1,2],[1,3]]}', b'{"~bytes":3}', b'{"~bytes":3}\nab',
    b'{"~bytes":3}\nabcd', b'{"~bytes":-1}\n', b'{"~bytes":true}\na', b'{"~bytes":1.0}\na',
    b'{"~bytes":"1"}\na', b'{"a":1}\n', b'{"~complex":[1,2]}', b'{"~complex":1.0}',
    b'{"~float":"0.5"}', b'{"~float":1}', b'{"~int":"12"}', b'{"~int":"0x_1"}', b'{"~int":12}',
    b'{"~array":[]}', b'{"~array":["O",[1],8]}\n12345678', b'{"~array":["<f8",[2],8]}\n12345678',
    b'{"~array":["<f8",[-1],8]}\n12345678', b'{"~array":["<f8",[true],8]}\n12345678',
    b'{"~array":["<f8",1,8]}\n12345678', b'{"~array":["<f8",[1],9]}\n12345678',
    b'{"~array":["f8,f8",[1],16]}\n1234567812345678', b'{"~array":["(2,)f8",[1],16]}\n' + b"1" * 16,
    b'{"~array":["<f3",[1],3]}\n123', b'{"~array":["<f16",[1],16]}\n1234567812345678',
    b'{"~array":["|b1",[1],1]}\n\x02', b'{"~array":["<U1",[1],4]}\n\xff\xff\xff\xff',
    b'{"~array":["<f8",[281474976710655,281474976710655,0],0]}\n',
    b'{"~array":["<f8",[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],0]}\n',
    b'{"~array":["<M8[xx]",[1],8]}\n12345678', b'{"~array":["V8",[1],8]}\n12345678',
    b'{"~scalar":["<f8",4]}\n1234', b'{"~scalar":"<f8"}\n12345678', b'{"~scalar":["<f8"]}\n',
    b"9" * 5000, b"[" + b"9" * 5000 + b"]", b"\xef\xbb\xbf1",
]  # fmt: skip


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_bytes_that_are_not_of_the_codec_are_refused(data: bytes) -> None:
    with pytest.raises(Unsafe):
        loads(data)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), st.text(alphabet='{}[]":,~tuplesdicarybn0129.-e\n', max_size=60)
    )
)
def test_any_bytes_are_a_value_or_refused(data: bytes | str) -> None:
    with contextlib.suppress(Unsafe):
        loads(data if isinstance(data, bytes) else data.encode())


@settings(max_examples=150, deadline=None)
@given(VALUES, st.data())
def test_a_damaged_value_is_a_value_or_refused(value: Any, data: st.DataObject) -> None:
    raw = bytearray(dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Unsafe):
        loads(bytes(raw))


def test_the_codec_is_clean_for_python_3_9() -> None:
    for name in ("safe", "safe_common", "safe_read", "safe_write"):
        source = Path(safe.__file__).with_name(f"{name}.py").read_text()
        ast.parse(source, feature_version=(3, 9))


@pytest.mark.parametrize("kind", ["S0", "U0"])
def test_a_few_bytes_are_no_array_of_a_terabyte(kind: str) -> None:
    """Texts of no length take none in the file, but numpy gives each of them some memory."""
    with pytest.raises(safe.Unsafe, match="too many"):
        loads(b'{"~array":["%s",[1000000000],0]}\n' % kind.encode())
    assert loads(b'{"~array":["%s",[3],0]}\n' % kind.encode()).shape == (3,)
