"""Sizes and durations as people write them: "8GB", "8GiB", "90s", "1h30m"."""

from __future__ import annotations

import re

#: Bytes in each unit; decimal and binary ones are different things.
SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

#: Seconds in each unit.
TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

#: No size and no duration may be more: 2**62 bytes, a hundred years.
MOST_BYTES = 2**62
MOST_SECONDS = 100 * 365 * 86400.0

SIZE_HINT = 'write a size with its unit, such as "512MB", "8GB" or "8GiB"'
TIME_HINT = 'write a time with its unit, such as "90s", "10m", "6h", "3d" or "1h30m"'

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s?([A-Za-z]{1,3})", re.ASCII)
_STEP = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s?(ms|s|m|h|d|w)", re.ASCII)
_TIME = re.compile(rf"(?:{_STEP.pattern}\s?)+", re.ASCII)


class BadUnit(ValueError):
    """A size or a duration cannot be read; the text says what was wrong."""


def parse_size(text: object) -> int:
    """The number of bytes that "8GB" (decimal) or "8GiB" (binary) means."""
    if not isinstance(text, str):
        raise BadUnit(f"a size was expected, not {describe(text)}")
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadUnit(f"{_short(text)} is not a number with a unit")
    number, unit = match.groups()
    factor = SIZE_UNITS.get(unit)
    if factor is None:
        raise BadUnit(
            f"{_short(unit)} is not a unit of size; known are {', '.join(SIZE_UNITS)}"
        )
    size = round(float(number) * factor) if "." in number else int(number) * factor
    if size > MOST_BYTES:
        raise BadUnit(f"{_short(text)} is more than any machine has")
    return size


def parse_duration(value: object) -> float:
    """The seconds that "90s", "6h", "1h30m" or a plain number of seconds means."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadUnit(f"a time was expected, not {describe(value)}")
    seconds = _seconds(value) if isinstance(value, str) else value
    if not 0 <= seconds <= MOST_SECONDS:  # False for NaN too
        raise BadUnit("a time is between 0 and a hundred years")
    return float(seconds)


def _seconds(text: str) -> float:
    text = text.strip()
    if len(text) > 64 or _TIME.fullmatch(text) is None:
        raise BadUnit(
            f"{_short(text)} is not a number with a unit; known are {', '.join(TIME_UNITS)}"
        )
    units = [unit for _, unit in _STEP.findall(text)]
    if len(set(units)) != len(units):
        raise BadUnit(f"{_short(text)} has one unit twice")
    return sum(float(number) * TIME_UNITS[unit] for number, unit in _STEP.findall(text))


def describe(value: object) -> str:
    """What sort of thing `value` is, in the words of TOML."""
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number with a fraction",
        str: "a text",
        list: "a list",
        dict: "a section",
        type(None): "null",
    }
    return words.get(type(value), f"a {type(value).__name__}")


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")


def format_size(number: int) -> str:
    """Bytes for people, in decimal units: "512 B", "1.5 GB"."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            number_text = (
                f"{number / size:.3g}" if number < 100 * size else f"{number / size:.0f}"
            )
            return f"{number_text} {unit}"
    return f"{number} B"
