"""What the reading and the writing half of the safe codec agree on."""

from __future__ import annotations

from typing import Any, Dict, Tuple, Union

Bytes = Union[bytes, bytearray, memoryview]

#: Containers within containers; more is refused.
MOST_DEPTH = 100
#: Values in all; shared parts count each time that they are written.
MOST_VALUES = 20_000_000

LEAST_INT, MOST_INT = -(2**63), 2**63 - 1
#: Kinds of numpy and their sizes in bytes (0: any): no objects, no records, no padded floats.
KINDS: Dict[str, Tuple[int, ...]] = {
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


class Unsafe(ValueError):
    """A value that the codec does not write, or bytes that are not of it."""


def dtype_fits(dtype: Any) -> bool:
    """Whether arrays of this numpy type can be written: bytes without gaps or pointers."""
    sizes = KINDS.get(dtype.kind)
    return sizes is not None and (not sizes or dtype.itemsize in sizes)
