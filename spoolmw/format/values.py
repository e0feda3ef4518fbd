"""Readers of single values as JSON or TOML gave them; what does not fit raises `Unfit`."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite

from spoolmw.format.keyed import Reader, Unfit, nearest, shown
from spoolmw.format.units import (
    SIZE_HINT,
    TIME_HINT,
    BadUnit,
    describe,
    parse_duration,
    parse_size,
)


def text(*, most: int = 4096, empty: bool = False) -> Reader:
    """A text without control characters, of at most `most` bytes."""

    def read(raw: object) -> object:
        if not isinstance(raw, str):
            raise Unfit(f"a text was expected, not {describe(raw)}", "put it in double quotes")
        if not raw and not empty:
            raise Unfit("the text is empty", "leave the key out")
        if len(raw.encode("utf-8", "surrogatepass")) > most:
            raise Unfit(f"the text is longer than {most} bytes")
        if not raw.isprintable():
            raise Unfit("the text has a control or invisible character in it")
        return raw

    return read


def one_of(*words: str) -> Reader:
    """One of these words."""

    def read(raw: object) -> object:
        if raw in words and isinstance(raw, str):
            return raw
        near = nearest(raw, words) if isinstance(raw, str) else ""
        hint = f'did you mean "{near}"? ' if near else ""
        raise Unfit(
            f"{shown(raw)} is not possible here", f"{hint}possible are {', '.join(words)}"
        )

    return read


def whole(least: int, most: int) -> Reader:
    """A whole number in these bounds; true and false are none."""

    def read(raw: object) -> object:
        if type(raw) is not int:
            raise Unfit(f"a whole number was expected, not {describe(raw)}")
        if not least <= raw <= most:
            raise Unfit(f"the number is not between {least} and {most}")
        return raw

    return read


def matching(pattern: str, expected: str) -> Reader:
    """A text that matches the whole pattern."""
    compiled = re.compile(pattern, re.ASCII)

    def read(raw: object) -> object:
        if not isinstance(raw, str):
            raise Unfit(
                f"{expected} was expected, not {describe(raw)}", "put it in double quotes"
            )
        if len(raw) > 4096 or compiled.fullmatch(raw) is None:
            raise Unfit(f"{expected} was expected, not {shown(raw)}")
        return raw

    return read


def list_of(reader: Reader, *, most: int = 10_000, hint: str = "") -> Reader:
    """A list, each of its values read by `reader`; becomes a tuple."""

    def read(raw: object) -> object:
        if not isinstance(raw, list):
            raise Unfit(
                f"a list was expected, not {describe(raw)}",
                hint or 'write it as ["one", "two"]',
            )
        if len(raw) > most:
            raise Unfit(f"the list has more than {most} values")
        values = []
        for number, value in enumerate(raw, 1):
            try:
                values.append(reader(value))
            except Unfit as problem:
                raise Unfit(f"value {number}: {problem.why}", problem.fix) from None
        return tuple(values)

    return read


def size(*, least: int = 1) -> Reader:
    """A size in bytes, from "8GB"."""

    def read(raw: object) -> object:
        try:
            value = parse_size(raw)
        except BadUnit as problem:
            fix = f'write "{raw}B" if bytes are meant' if type(raw) is int else SIZE_HINT
            raise Unfit(str(problem), fix) from None
        if value < least:
            raise Unfit(f"the size must be {least} bytes or more")
        return value

    return read


def duration(*, least: float = 0.001, most: float = float("inf")) -> Reader:
    """A time in seconds, from "90s" or a plain number of seconds."""

    def read(raw: object) -> object:
        try:
            value = parse_duration(raw)
        except BadUnit as problem:
            raise Unfit(str(problem), TIME_HINT) from None
        if not least <= value <= most:
            bounds = (
                f"between {least:g} and {most:g} s"
                if isfinite(most)
                else f"{least:g} s or more"
            )
            raise Unfit(f"the time is not {bounds}")
        return value

    return read


def checked(problem_of: Callable[[str], str], expected: str) -> Reader:
    """A text in which `problem_of` finds no fault."""

    def read(raw: object) -> object:
        if not isinstance(raw, str):
            raise Unfit(
                f"{expected} was expected, not {describe(raw)}", "put it in double quotes"
            )
        why = problem_of(raw)
        if why:
            raise Unfit(f"{shown(raw)} cannot be {expected}: {why}")
        return raw

    return read


def yes_or_no(raw: object) -> object:
    """`true` or `false`."""
    if not isinstance(raw, bool):
        raise Unfit(f"true or false was expected, not {describe(raw)}")
    return raw
