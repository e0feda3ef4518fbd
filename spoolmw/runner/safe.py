"""The `safe` codec: values as canonical JSON with tagged types and raw segments behind it.

Equal values have equal bytes (dictionaries and sets are sorted; 1, 1.0 and True differ, and
so do 0.0 and -0.0), so digests can be compared. Reading is bounded and runs nothing.

Layout: one line of JSON; where it names segments, a newline and their bytes in the order of
their tags. A JSON object with the one key "~tuple", "~set", "~frozenset", "~dict", "~bytes",
"~complex", "~float", "~int", "~array" or "~scalar" is a tagged value; any other object is a
dictionary whose keys are texts that do not begin with "~".
"""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple, Union

Bytes = Union[bytes, bytearray, memoryview]

#: Containers within containers; more is refused.
MOST_DEPTH = 100
#: Values in all; shared parts count each time that they are written.
MOST_VALUES = 20_000_000

_LEAST_INT, _MOST_INT = -(2**63), 2**63 - 1
#: Kinds of numpy and their sizes in bytes (0: any): no objects, no records, no padded floats.
_KINDS: Dict[str, Tuple[int, ...]] = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8),
    "c": (8, 16),
    "m": (8,),
    "M": (8,),
    "S": (),
    "U": (),
}
_DTYPE = re.compile(r"[<>|=]?[biufcmMSU]\d{1,9}(\[\d{0,4}[A-Za-z]{1,2}\])?", re.ASCII)


class Unsafe(ValueError):
    """A value that the codec does not write, or bytes that are not of it; the text says why."""


class _Changed(Exception):
    """The value would come back different in something that can be observed."""


def dumps(value: object) -> bytes:
    """The canonical bytes of `value`; raises `Unsafe` where a type is not covered."""
    return b"".join(parts(value))


def parts(value: object) -> List[Bytes]:
    """As `dumps`, but in pieces that share memory with the arrays in `value`."""
    scalar = _scalar(value)
    if scalar is not None:
        return [scalar]
    return _Writer(strict=False).write(value)


def dumps_if_unchanged(value: object) -> Optional[bytes]:
    """The bytes, or None where the value would not come back exactly as it is.

    That is so for other types, subclasses, dictionaries in another than the sorted order,
    parts that are shared or contain themselves, and arrays not in C order.
    """
    pieces = parts_if_unchanged(value)
    return None if pieces is None else b"".join(pieces)


def parts_if_unchanged(value: object) -> Optional[List[Bytes]]:
    """As `dumps_if_unchanged`, in pieces."""
    scalar = _scalar(value)
    if scalar is not None:
        return [scalar]
    try:
        return _Writer(strict=True).write(value)
    except (Unsafe, _Changed):
        return None


def fits(value: object) -> bool:
    """Whether `dumps_if_unchanged` would write it."""
    return parts_if_unchanged(value) is not None


def loads(data: Bytes) -> Any:
    """The value of `data`; raises `Unsafe`. Arrays need numpy to be installed."""
    line_end = _NEWLINE.search(data)
    try:
        line = str(data if line_end is None else memoryview(data)[: line_end.start()], "utf-8")
        if "{" not in line:
            if line_end is not None:
                raise Unsafe("segments follow that nothing names")
            return _PLAIN.decode(line)
        segments = memoryview(data)[len(data) if line_end is None else line_end.end() :]
        return _Reader(segments, named=line_end is not None).read(line)
    except Unsafe:
        raise
    except RecursionError:
        raise Unsafe("it is nested too deeply") from None
    except (ValueError, TypeError, OverflowError, MemoryError) as problem:
        raise Unsafe(f"it is not of the safe codec: {problem}") from None


# Scalars take a short way: most results are one.


def _scalar(value: object) -> Optional[bytes]:
    kind = type(value)
    if value is None:
        return b"null"
    if kind is bool:
        return b"true" if value else b"false"
    if kind is int and _LEAST_INT <= value <= _MOST_INT:  # type: ignore[operator]
        return b"%d" % value
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return repr(value).encode()
    return None


class _Writer:
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
        if _LEAST_INT <= value <= _MOST_INT:
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
        tree = [self._tree(each) for each in sorted(value, key=dumps)]
        self._open.pop()
        return {"~" + type(value).__name__: tree}

    def _dict(self, value: Dict[object, object]) -> object:
        self._enter(value, len(value))
        tree: object
        if all(type(key) is str and key[:1] != "~" for key in value):
            keys: List[Any] = sorted(value)  # type: ignore[type-var]
            tree = {key: self._tree(value[key]) for key in keys}
        else:
            keys = sorted(value, key=dumps)
            tree = {"~dict": [[self._tree(key), self._tree(value[key])] for key in keys]}
        if self._strict and keys != list(value):
            raise _Changed
        self._open.pop()
        return tree

    def _enter(self, container: object, size: int) -> None:
        mark = id(container)
        if mark in self._seen:
            if self._strict and container != () and container != frozenset():
                raise _Changed
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
                raise _Changed
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
    int: _Writer._int,
    float: _Writer._float,
    complex: _Writer._complex,
    bytes: _Writer._bytes,
    list: _Writer._list,
    tuple: _Writer._tuple,
    set: _Writer._set,
    frozenset: _Writer._set,
    dict: _Writer._dict,
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
    if dtype.metadata is None and _dtype_fits(dtype) and numpy.dtype(name) == dtype:
        return name
    raise Unsafe("the safe codec does not write numpy arrays of %s" % dtype)


def _dtype_fits(dtype: Any) -> bool:
    sizes = _KINDS.get(dtype.kind)
    return sizes is not None and (not sizes or dtype.itemsize in sizes)


class _Reader:
    """Takes one line of JSON apart from the inside out, and its segments from first to last."""

    def __init__(self, segments: memoryview, *, named: bool) -> None:
        self._segments = segments
        self._named = named
        self._at = 0
        self._tagged = 0

    def read(self, line: str) -> object:
        decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=_no_constant)
        value = decoder.decode(line)
        if self._at != len(self._segments) or (self._named and not self._tagged):
            raise Unsafe("segments follow that nothing names")
        return value

    def _object(self, pairs: List[Tuple[str, Any]]) -> object:
        if len(pairs) == 1 and pairs[0][0][:1] == "~":
            tag, raw = pairs[0]
            reader = _READERS.get(tag)
            if reader is None:
                raise Unsafe("the tag %a is unknown" % tag[:40])
            return reader(self, raw)
        tree = dict(pairs)
        if len(tree) != len(pairs):
            raise Unsafe("a key is there twice")
        if any(key[:1] == "~" for key in tree):
            raise Unsafe("a tag stands among other keys")
        return tree

    def _take(self, length: object) -> memoryview:
        if type(length) is not int or length < 0:
            raise Unsafe("a segment's length is wrong")
        end = self._at + length
        if not self._named or end > len(self._segments):
            raise Unsafe("a segment is not whole")
        taken = self._segments[self._at : end]
        self._at = end
        self._tagged += 1
        return taken

    def _bytes(self, raw: Any) -> object:
        return bytes(self._take(raw))

    def _tuple(self, raw: Any) -> object:
        return tuple(_a_list(raw))

    def _set(self, raw: Any) -> object:
        return _distinct(set(_a_list(raw)), raw)

    def _frozenset(self, raw: Any) -> object:
        return _distinct(frozenset(_a_list(raw)), raw)

    def _dict(self, raw: Any) -> object:
        pairs = _a_list(raw)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise Unsafe("a dictionary is made of pairs")
        return _distinct(dict(pairs), pairs)

    def _complex(self, raw: Any) -> object:
        if type(raw) is list and len(raw) == 2 and all(type(each) is float for each in raw):
            return complex(*raw)
        raise Unsafe("a complex number is made of two floats")

    def _float(self, raw: Any) -> object:
        if type(raw) is str and raw in ("nan", "inf", "-inf"):
            return float(raw)
        raise Unsafe("a tagged float is nan, inf or -inf")

    def _int(self, raw: Any) -> object:
        if type(raw) is str and re.fullmatch(r"-?0x[0-9a-f]+", raw):
            return int(raw, 16)
        raise Unsafe("a tagged int is hexadecimal")

    def _array(self, raw: Any) -> object:
        if type(raw) is not list or len(raw) != 3 or type(raw[1]) is not list:
            raise Unsafe("an array has a type, a shape and a length")
        name, shape, length = raw
        if (
            not all(type(each) is int and 0 <= each < 2**48 for each in shape)
            or len(shape) > 32
        ):
            raise Unsafe("an array's shape is wrong")
        return self._numpy(name, length, tuple(shape))

    def _scalar(self, raw: Any) -> object:
        if type(raw) is not list or len(raw) != 2:
            raise Unsafe("a numpy scalar has a type and a length")
        return self._numpy(raw[0], raw[1], ())[()]

    def _numpy(self, name: object, length: object, shape: Tuple[int, ...]) -> Any:
        if type(name) is not str or not _DTYPE.fullmatch(name):
            raise Unsafe("an array's type is wrong")
        try:
            numpy = importlib.import_module("numpy")
        except ImportError:
            raise Unsafe(
                "the value is a numpy array, and numpy is not installed here"
            ) from None
        dtype = numpy.dtype(name)
        if not _dtype_fits(dtype):
            raise Unsafe("an array's type is wrong")
        raw = self._take(length)
        count = 1
        for each in shape:
            count *= each
        if count * dtype.itemsize != len(raw):
            raise Unsafe("an array's shape and length disagree")
        array = numpy.empty(shape, dtype)
        if len(raw):
            array.reshape(-1).view(numpy.uint8)[:] = raw
        _check_content(array, numpy)
        return array


def _check_content(array: Any, numpy: Any) -> None:
    # Bytes that no array of this type has would make numpy misbehave later.
    kind = array.dtype.kind
    if not array.size or not array.dtype.itemsize:
        return
    flat = array.reshape(-1)
    if kind == "b" and flat.view(numpy.uint8).max() > 1:
        raise Unsafe("an array of bool has other bytes than 0 and 1")
    if kind == "U":
        points = flat.view(array.dtype.byteorder.replace("|", "=") + "u4")
        if points.max() > 0x10FFFF:
            raise Unsafe("an array of text has an impossible character")


_READERS: Dict[str, Callable[[Any, Any], object]] = {
    "~tuple": _Reader._tuple,
    "~set": _Reader._set,
    "~frozenset": _Reader._frozenset,
    "~dict": _Reader._dict,
    "~bytes": _Reader._bytes,
    "~complex": _Reader._complex,
    "~float": _Reader._float,
    "~int": _Reader._int,
    "~array": _Reader._array,
    "~scalar": _Reader._scalar,
}


def _a_list(raw: Any) -> List[Any]:
    if type(raw) is not list:
        raise Unsafe("a tag's content is wrong")
    return raw


def _distinct(made: Any, raw: List[Any]) -> Any:
    if len(made) != len(raw):
        raise Unsafe("a value is there twice")
    return made


def _no_constant(word: str) -> NoReturn:
    raise Unsafe("%s is no number of JSON" % word)


_NEWLINE = re.compile(b"\n")
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
)
_PLAIN = json.JSONDecoder(parse_constant=_no_constant)
