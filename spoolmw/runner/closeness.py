"""Whether two values are close: the same in shape and kind, their numbers within a tolerance.

Two numbers a and b are close when |a - b| <= max(rtol * max(|a|, |b|), atol), as math.isclose
has it; so it does not matter which comes first. NaN is close to NaN; an infinity only to itself;
0.0 and -0.0 are close. Of complex numbers the real parts and the imaginary parts are compared.
1 and 1.0 are numbers alike, True is none. Everything else must be the same: the type and length
of sequences, the keys of dictionaries, the shapes of arrays, texts, bytes, and sets as a whole.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any, Callable, Dict, NamedTuple, Tuple

from . import safe
from .safe_common import MOST_DEPTH

_BLOCK = 1 << 20  #: elements of an array that are compared at a time
_NUMERIC = "iufc"
#: What is compared alike; the first that fits counts.
_KINDS: Tuple[Tuple[Any, str], ...] = (
    (bool, "bool"),
    ((int, float, complex), "number"),
    ((list, tuple), "sequence"),
    (dict, "dict"),
    ((set, frozenset), "set"),
    (str, "text"),
    (bytes, "bytes"),
    (bytearray, "bytearray"),
    (type(None), "None"),
)


class Uncomparable(Exception):
    """A value has a part of a type for which closeness is not defined."""


class Tolerance(NamedTuple):
    """How far apart numbers may be."""

    rtol: float
    atol: float


def close(one: Any, two: Any, within: Tolerance) -> bool:
    """Whether two values are close; raises `Uncomparable`. It is symmetric, not transitive."""
    return _close(one, two, within, 0)


def is_comparable(value: Any, within: Tolerance) -> bool:
    """Whether it is said of each part of a value what close means."""
    try:
        close(value, value, within)
    except Uncomparable:
        return False
    return True


def _close(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    if depth > MOST_DEPTH:
        raise Uncomparable(f"they are nested more than {MOST_DEPTH} levels deep")
    kind = _kind(one)
    if kind != _kind(two):
        return False
    rule = _RULES.get(kind)
    return bool(one == two) if rule is None else rule(one, two, within, depth)


def _kind(value: Any) -> str:
    for types, kind in _KINDS:
        if isinstance(value, types):
            return kind
    return _numpy_kind(value)


def _numpy_kind(value: Any) -> str:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return "array"
        if isinstance(value, numpy.bool_):
            return "bool"
        if isinstance(value, numpy.number):
            return "number"
        if isinstance(value, numpy.generic):
            return f"numpy {value.dtype.str}"
    kind = type(value)
    raise Uncomparable(
        f"they have a {kind.__module__}.{kind.__qualname__} in them, for which nobody said what"
        ' close means: validator = "python" can say it'
    )


def _name(value: Any) -> str:
    # A class that travelled by value is another object in each process.
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _plain(number: Any) -> Any:
    if isinstance(number, (int, float, complex)):
        return number
    plain = number.item()
    return plain if isinstance(plain, (int, float, complex)) else complex(plain)


def _numbers(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    one, two = _plain(one), _plain(two)
    if isinstance(one, complex) or isinstance(two, complex):
        return _reals(one.real, two.real, within) and _reals(one.imag, two.imag, within)
    return _reals(one, two, within)


def _reals(one: Any, two: Any, within: Tolerance) -> bool:
    if one == two:
        return True
    if isinstance(one, float) and isinstance(two, float):
        if math.isnan(one) and math.isnan(two):
            return True
        return math.isclose(one, two, rel_tol=within.rtol, abs_tol=within.atol)
    if any(isinstance(each, float) and not math.isfinite(each) for each in (one, two)):
        return False
    a, b = Fraction(one), Fraction(two)  # an int may be longer than any float
    bound = max(Fraction(within.rtol) * max(abs(a), abs(b)), Fraction(within.atol))
    return abs(a - b) <= bound


def _sequences(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    if _name(one) != _name(two) or len(one) != len(two):
        return False
    return all(_close(a, b, within, depth + 1) for a, b in zip(one, two))


def _sets(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    return _name(one) == _name(two) and _bytes(one) == _bytes(two)


def _dicts(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    if _name(one) != _name(two) or len(one) != len(two):
        return False
    there = {_bytes(key): value for key, value in two.items()}
    for key, value in one.items():
        mark = _bytes(key)
        if mark not in there or not _close(value, there[mark], within, depth + 1):
            return False
    return True


def _bytes(value: Any) -> bytes:
    try:
        return safe.dumps(value)
    except safe.Unsafe as problem:
        raise Uncomparable(f"a key or a set cannot be compared: {problem}") from None


def _arrays(one: Any, two: Any, within: Tolerance, depth: int) -> bool:
    if one.shape != two.shape:
        return False
    kinds = one.dtype.kind + two.dtype.kind
    if "O" in kinds or "V" in kinds:
        raise Uncomparable("they have arrays of objects or records in them")
    if not all(kind in _NUMERIC for kind in kinds):
        return _exact_arrays(one, two)
    numpy: Any = sys.modules["numpy"]
    flat, other = numpy.ascontiguousarray(one).ravel(), numpy.ascontiguousarray(two).ravel()
    for start in range(0, flat.size, _BLOCK):
        a, b = flat[start : start + _BLOCK], other[start : start + _BLOCK]
        parts = [(a.real, b.real), (a.imag, b.imag)] if "c" in kinds else [(a, b)]
        if not all(_block(left, right, within, numpy) for left, right in parts):
            return False
    return True


def _exact_arrays(one: Any, two: Any) -> bool:
    if one.dtype.kind != two.dtype.kind:
        return False
    if one.dtype.kind in "mM":  # times that are none ("NaT") do not equal themselves
        return bool(one.dtype == two.dtype and one.tobytes() == two.tobytes())
    return bool((one == two).all())


def _block(one: Any, two: Any, within: Tolerance, numpy: Any) -> bool:
    with numpy.errstate(all="ignore"):
        a, b = one.astype(numpy.longdouble), two.astype(numpy.longdouble)
        bound = numpy.maximum(within.rtol * numpy.maximum(abs(a), abs(b)), within.atol)
        near = (abs(a - b) <= bound) & numpy.isfinite(a) & numpy.isfinite(b)
        same = (a == b) | (numpy.isnan(a) & numpy.isnan(b))
        return bool((near | same).all())


_RULES: Dict[str, Callable[[Any, Any, Tolerance, int], bool]] = {
    "number": _numbers,
    "array": _arrays,
    "sequence": _sequences,
    "dict": _dicts,
    "set": _sets,
}
