"""The body of an array of calls: a function, and for each element its arguments, found by position.

    pickle of the function | pickles of the arguments, one tuple each | their offsets | their number

Offsets count from the body's start, eight bytes each, little-endian, one more than there are
elements; the number stands in the last eight bytes. So an element reads its own arguments only.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import Iterator, List, NamedTuple

_PIECE = 1 << 20
_U64 = 8


class Damaged(Exception):
    """The body is not what was submitted, or has no such element."""


class Item(NamedTuple):
    """What one element runs."""

    function: bytes  #: a pickle
    args: bytes  #: a pickle of a tuple


class Writer:
    """Puts such a body together: first the function, then each element's arguments."""

    def __init__(self, function: bytes) -> None:
        self._pieces: List[bytes] = [function]
        self._offsets: List[int] = [len(function)]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, args: bytes) -> None:
        """One more element."""
        self._pieces.append(args)
        self._offsets.append(self._offsets[-1] + len(args))

    @property
    def size_bytes(self) -> int:
        """What was added so far."""
        return self._offsets[-1]

    def body(self) -> bytes:
        """The whole body."""
        table = struct.pack(f"<{len(self._offsets)}Q", *self._offsets)
        return b"".join([*self._pieces, table, struct.pack("<Q", len(self))])


class Calls:
    """The calls in an open file, from `start` on, `size` bytes. Checked as a whole when opened."""

    def __init__(self, fd: int, start: int, size: int, sha256: str) -> None:
        self._fd = fd
        self._start = start
        self._size = size
        if _digest(_pieces(fd, start, size)) != sha256:
            raise Damaged("the task's body has another digest than its header says")
        (self._number,) = self._numbers(size - _U64, 1)
        self._table = size - _U64 - _U64 * (self._number + 1)
        if self._table < 0:
            raise Damaged("the body of the array has no table of its elements")
        (first,) = self._numbers(self._table, 1)
        self._function = self._read(0, first)

    def item(self, position: int) -> Item:
        """What the element at a position runs."""
        if not 0 <= position < self._number:
            raise Damaged(
                f"the array's body has {self._number} calls, this is element {position + 1}"
            )
        start, end = self._numbers(self._table + _U64 * position, 2)
        return Item(self._function, self._read(start, end))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)

    def _numbers(self, offset: int, count: int) -> "tuple[int, ...]":
        return struct.unpack(f"<{count}Q", self._read(offset, offset + _U64 * count))

    def _read(self, start: int, end: int) -> bytes:
        if not 0 <= start <= end <= self._size:
            raise Damaged("the table of the array's elements points outside of its body")
        pieces = list(_pieces(self._fd, self._start + start, end - start))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _pieces(fd: int, start: int, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = os.pread(fd, min(size, _PIECE), start)
        if not piece:
            raise Damaged("the task's body is shorter than its header says")
        yield piece
        start, size = start + len(piece), size - len(piece)


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
