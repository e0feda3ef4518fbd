"""The `safe` codec: values as canonical JSON with tagged types and raw segments behind it.

Equal values have equal bytes (dictionaries and sets are sorted; 1, 1.0 and True differ, and
so do 0.0 and -0.0), so digests can be compared. Reading is bounded and runs nothing.

Layout: one line of JSON; where it names segments, a newline and their bytes in the order of
their tags. A JSON object with the one key "~tuple", "~set", "~frozenset", "~dict", "~bytes",
"~complex", "~float", "~int", "~array" or "~scalar" is a tagged value; any other object is a
dictionary whose keys are texts that do not begin with "~".
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, List, Optional

from .safe_common import LEAST_INT, MOST_INT, Bytes, Unsafe
from .safe_read import Reader, no_constant
from .safe_write import Changed, Writer


def dumps(value: object) -> bytes:
    """The canonical bytes of `value`; raises `Unsafe` where a type is not covered."""
    return b"".join(parts(value))


def parts(value: object) -> List[Bytes]:
    """As `dumps`, but in pieces that share memory with the arrays in `value`."""
    scalar = _scalar(value)
    if scalar is not None:
        return [scalar]
    return Writer(strict=False).write(value)


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
        return Writer(strict=True).write(value)
    except (Unsafe, Changed):
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
        return Reader(segments, named=line_end is not None).read(line)
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
    if kind is int and LEAST_INT <= value <= MOST_INT:  # type: ignore[operator]
        return str(value).encode()
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return repr(value).encode()
    return None


_NEWLINE = re.compile(b"\n")
_PLAIN = json.JSONDecoder(parse_constant=no_constant)

__all__ = [
    "Unsafe",
    "dumps",
    "dumps_if_unchanged",
    "fits",
    "loads",
    "parts",
    "parts_if_unchanged",
]
