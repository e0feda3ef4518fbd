"""The reading half of the safe codec: bounded, and nothing is run."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any, Callable, Dict, List, NoReturn, Tuple

from .safe_common import Unsafe, dtype_fits

_DTYPE = re.compile(r"[<>|=]?[biufcmMSU]\d{1,9}(\[\d{0,4}[A-Za-z]{1,2}\])?", re.ASCII)

_MOST_EMPTY = 1 << 16  #: elements without a byte: no length in the file bounds their number


class Reader:
    """Takes one line of JSON apart from the inside out, and its segments from first to last."""

    def __init__(self, segments: memoryview, *, named: bool) -> None:
        self._segments = segments
        self._named = named
        self._at = 0
        self._tagged = 0

    def read(self, line: str) -> object:
        decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=no_constant)
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
        if not dtype_fits(dtype):
            raise Unsafe("an array's type is wrong")
        raw = self._take(length)
        count = 1
        for each in shape:
            count *= each
        if count * dtype.itemsize != len(raw):
            raise Unsafe("an array's shape and length disagree")
        if not dtype.itemsize and count > _MOST_EMPTY:
            raise Unsafe("an array of empty texts has too many")  # numpy gives each a place
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
    "~tuple": Reader._tuple,
    "~set": Reader._set,
    "~frozenset": Reader._frozenset,
    "~dict": Reader._dict,
    "~bytes": Reader._bytes,
    "~complex": Reader._complex,
    "~float": Reader._float,
    "~int": Reader._int,
    "~array": Reader._array,
    "~scalar": Reader._scalar,
}


def _a_list(raw: Any) -> List[Any]:
    if type(raw) is not list:
        raise Unsafe("a tag's content is wrong")
    return raw


def _distinct(made: Any, raw: List[Any]) -> Any:
    if len(made) != len(raw):
        raise Unsafe("a value is there twice")
    return made


def no_constant(word: str) -> NoReturn:
    raise Unsafe("%s is no number of JSON" % word)
