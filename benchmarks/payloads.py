"""What the benchmarks run."""

from __future__ import annotations


def nothing() -> None:
    """A task without work: what is left is the price of a task."""


def same(data: bytes) -> bytes:
    """Give back what was given: a large argument and a large result."""
    return data


def nothing_of(value: object) -> None:
    """A task without work that takes another one's value."""


def count_all(values: list[object]) -> int:
    """How many values there are: the smallest reduce."""
    return len(values)


def element(index: int) -> None:
    """Do nothing, as an element of an array."""
