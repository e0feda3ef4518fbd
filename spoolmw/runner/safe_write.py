"""The writing half of the safe codec: a value becomes one line of JSON and raw segments."""

from __future__ import annotations

import json
import math
import sys
from typing import Any, Callable, Dict, List, Tuple

from .safe_common import (
    LEAST_INT,
    MOST_DEPTH,
    MOST_INT,
    MOST_VALUES,
    Bytes,
    Unsafe,
    dtype_fits,
)


class Changed(Exception):
    """The value would come back different in something that can be observed."""


class Writer:
    """Builds the tree of one value, and its segments in the order of the tags."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._segments: List[Bytes] = []
        self._open: List[int] = []  # containers that we are in, by id
        self._seen: Dict[int, object] = {}  # containers met, kept alive so that ids stay theirs
        self._count = 0

    def write(self, value: object) -> List[Bytes]:
        try:
            text = _ENCODER.encode(self._tree(value))
            line = text.encode("utf-8")
        except UnicodeEncodeError:
            raise Unsafe("a text has half a surrogate pair in it") from None
        except RecursionError:
            raise Unsafe("the value is nested too deeply") from None
        return [line, b"\n", *self._segments] if self._segments else [line]

    def _tree(self, value: object) -> object:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        writer = _WRITERS.get(kind)
        if writer is not None:
            return writer(self, value)
        return self._numpy(value)

    def _int(self, value: int) -> object:
        if LEAST_INT <= value <= MOST_INT:
            return value
        return {"~int": hex(value)}

    def _float(self, value: float) -> object:
        return value if math.isfinite(value) else {"~float": repr(value)}

    def _complex(self, value: complex) -> object:
        return {"~complex": [self._float(value.real), self._float(value.imag)]}

    def _bytes(self, value: bytes) -> object:
        self._segments.append(value)
        return {"~bytes": len(value)}

    def _list(self, value: List[object]) -> object:
        self._enter(value, len(value))
        tree = [self._tree(each) for each in value]
        self._open.pop()
        return tree

    def _tuple(self, value: Tuple[object, ...]) -> object:
        self._enter(value, len(value))
        tree = [self._tree(each) for each in value]
        self._open.pop()
        return {"~tuple": tree}

    def _set(self, value: Any) -> object:
        self._enter(value, len(value))
        tree = [self._tree(each) for each in sorted(value, key=_alone)]
        self._open.pop()
        return {"~" + type(value).__name__: tree}

    def _dict(self, value: Dict[object, object]) -> object:
        self._enter(value, len(value))
        tree: object
        if all(type(key) is str and key[:1] != "~" for key in value):
            keys: List[Any] = sorted(value)
            tree = {key: self._tree(value[key]) for key in keys}
        else:
            keys = sorted(value, key=_alone)
            tree = {"~dict": [[self._tree(key), self._tree(value[key])] for key in keys]}
        if self._strict and keys != list(value):
            raise Changed
        self._open.pop()
        return tree

    def _enter(self, container: object, size: int) -> None:
        mark = id(container)
        if mark in self._seen:
            if self._strict and type(container) not in (tuple, frozenset):  # who could tell?
                raise Changed
            if mark in self._open:
                raise Unsafe("the value contains itself")
        self._seen[mark] = container
        self._open.append(mark)
        self._count += size
        if len(self._open) > MOST_DEPTH:
            raise Unsafe("the value is nested more than %d levels deep" % MOST_DEPTH)
        if self._count > MOST_VALUES:
            raise Unsafe("the value has more than %d parts" % MOST_VALUES)

    def _numpy(self, value: object) -> object:
        numpy = sys.modules.get("numpy")
        if numpy is None:
            raise _not_covered(value)
        if type(value) is numpy.ndarray:
            return self._array(value, numpy)
        dtype = getattr(value, "dtype", None)
        if isinstance(value, numpy.generic) and getattr(dtype, "type", None) is type(value):
            return self._array_scalar(value, numpy)
        raise _not_covered(value)

    def _array(self, array: Any, numpy: Any) -> object:
        name = _dtype_name(array.dtype, numpy)
        whole = array.flags.c_contiguous
        if self._strict:
            if id(array) in self._seen or not (whole and array.flags.writeable):
                raise Changed
            self._seen[id(array)] = array
        raw = numpy.ascontiguousarray(array) if array.ndim else array.copy()
        self._segments.append(
            memoryview(raw.reshape(-1).view(numpy.uint8)) if raw.nbytes else b""
        )
        return {"~array": [name, list(array.shape), int(raw.nbytes)]}

    def _array_scalar(self, value: Any, numpy: Any) -> object:
        name = _dtype_name(value.dtype, numpy)
        raw = numpy.asarray(value).tobytes()
        self._segments.append(raw)
        return {"~scalar": [name, len(raw)]}


_WRITERS: Dict[type, Callable[[Any, Any], object]] = {
    int: Writer._int,
    float: Writer._float,
    complex: Writer._complex,
    bytes: Writer._bytes,
    list: Writer._list,
    tuple: Writer._tuple,
    set: Writer._set,
    frozenset: Writer._set,
    dict: Writer._dict,
}


def _not_covered(value: object) -> Unsafe:
    kind = type(value)
    return Unsafe(
        "the safe codec does not write %s.%s; it writes None, bool, int, float, complex, str, "
        "bytes, list, tuple, dict, set, frozenset and numpy arrays"
        % (kind.__module__, kind.__qualname__)
    )


def _dtype_name(dtype: Any, numpy: Any) -> str:
    name = str(dtype.str)
    if dtype.metadata is None and dtype_fits(dtype) and numpy.dtype(name) == dtype:
        return name
    raise Unsafe("the safe codec does not write numpy arrays of %s" % dtype)


def _alone(value: object) -> bytes:
    return b"".join(Writer(strict=False).write(value))


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
)
