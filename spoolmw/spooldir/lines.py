"""The lines of an array's file: counted and checked once, read bit by bit later.

Rule: line N of the file is element N. So a line that is empty, or cannot be given to a program,
refuses the whole array; nothing is skipped silently.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spoolmw.errors import BadTaskFile
from spoolmw.format.names import escape

#: Longest line, in bytes: it travels with every order of its element.
MOST_LINE_BYTES = 4096
_PIECE = 1 << 20
_WRONG = re.compile(rb"[\x00\r]|\n\n")


class Line(NamedTuple):
    """One line, and where the one behind it begins."""

    text: str
    next_offset: int


def count_lines(path: Path, name: str) -> int:
    """How many lines the file at `path` has; BadTaskFile where one cannot be an element."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, open_bytes, last = 0, 0, b"\n"
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if found := _WRONG.search(last + piece):
                raise _bad(name, file, found[0])
            _check_text(decoder, piece, name, lines)
            open_bytes = _longest(piece, open_bytes, name)
            lines += piece.count(b"\n")
            last = piece[-1:]
    _check_text(decoder, b"", name, lines, final=True)
    lines += last != b"\n"
    if lines == 0:
        raise BadTaskFile(
            f"the array_file {escape(name)} is empty",
            why="each of its lines is an element",
            fix="write at least one line into it",
        )
    return lines


def read_lines(path: Path, offset: int) -> Iterator[Line]:
    """The lines from `offset` on. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            offset += len(raw)
            yield Line(raw.removesuffix(b"\n").decode(), offset)


def line_at(path: Path, number: int) -> str:
    """Line `number` (from 0) of the file; goes through what stands before it. Raises OSError."""
    with path.open("rb") as file:
        for at, raw in enumerate(file):
            if at == number:
                return raw.removesuffix(b"\n").decode()
    raise OSError(f"{path} has no line {number + 1}")


def _longest(piece: bytes, before: int, name: str) -> int:
    """The length of the line that `piece` leaves open; `before` bytes of the first one came before."""
    start = 0
    while (end := piece.find(b"\n", start)) >= 0:
        _check_length(end - start + before, name)
        start, before = end + 1, 0
        # Lines are mostly short: jump to the last line end within what a line may have.
        jump = piece.rfind(b"\n", start, start + MOST_LINE_BYTES)
        start = jump + 1 if jump >= 0 else start
    _check_length(len(piece) - start + before, name)
    return len(piece) - start + before


def _check_length(length: int, name: str) -> None:
    if length > MOST_LINE_BYTES:
        raise BadTaskFile(
            f"the array_file {escape(name)} has a line of more than {MOST_LINE_BYTES} bytes",
            why="a line travels with every order of its element",
            fix="put what is long into input files, and their names into the lines",
        )


def _check_text(
    decoder: codecs.IncrementalDecoder,
    piece: bytes,
    name: str,
    line: int,
    *,
    final: bool = False,
) -> None:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError as problem:
        number = line + problem.object.count(b"\n", 0, problem.start) + 1
        raise BadTaskFile(
            f"the array_file {escape(name)} is not UTF-8 in line {number}",
            fix="save it as UTF-8",
        ) from None


def _bad(name: str, file: BinaryIO, wrong: bytes) -> BadTaskFile:
    """Says in which line it is; goes through the file once more for that."""
    file.seek(0)
    lines = enumerate(file, 1)
    number = next(n for n, raw in lines if raw == b"\n" or b"\0" in raw or b"\r" in raw)
    if b"\r" in wrong:
        what, fix = "ends as on Windows", "convert it with dos2unix"
    elif b"\0" in wrong:
        what, fix = "has a NUL byte in it", "save it as plain text"
    else:
        what, fix = "is empty", "leave it out: each line is an element"
    return BadTaskFile(f"line {number} of the array_file {escape(name)} {what}", fix=fix)
