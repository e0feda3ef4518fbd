"""Packs the calls of a map into files: many calls of one function are one array, few are tasks.

One file for each call costs the client, the daemon and the disk as much as running a tiny call.
In an array the function is pickled once, each call costs its arguments, and the daemon takes one
file. Every call is still a task with its own id, result and future.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from spoolmw.format.call import StandsForTask, dump_args, dump_function
from spoolmw.runner.calls import Writer

#: With fewer calls than this each has a file of its own.
MANY = 16
#: Calls, and bytes of arguments, in one array.
MOST_CALLS = 5000
MOST_BYTES = 16_000_000
#: Seconds after which what there is goes off, so that a slow iterable does not hold up the grid.
LONGEST_S = 0.1

Args = tuple[Any, ...]


class Call(NamedTuple):
    """A function with its arguments."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


def bundles(function: Callable[..., Any], calls: Iterable[Args]) -> Iterator[Call | Writer]:
    """The calls of `function`, in order, in arrays and alone. Raises NotPicklable."""
    rest = iter(calls)
    while some := _together(rest):
        if len(some) < MANY:
            yield from (Call(function, args, {}) for args in some)
        else:
            yield from _arrays(function, chain(some, rest))


def _together(calls: Iterator[Args]) -> list[Args]:
    """The next calls, up to MANY, as far as they come without a pause."""
    some: list[Args] = []
    until = 0.0
    for args in calls:
        some.append(args)
        now = time.monotonic()
        until = until or now + LONGEST_S
        if len(some) >= MANY or now >= until:
            break
    return some


def _arrays(function: Callable[..., Any], calls: Iterator[Args]) -> Iterator[Call | Writer]:
    """Arrays for as long as calls come; one that takes the value of a task is a task by itself."""
    array = _Array(function)
    for args in calls:
        try:
            array.add(args)
        except StandsForTask:
            yield from array.taken()
            yield Call(function, args, {})
        if array.is_full():
            yield from array.taken()
    yield from array.taken()


class _Array:
    """The array that is being put together."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._writer: Writer | None = None
        self._until = 0.0

    def add(self, args: Args) -> None:
        """One more call. Raises NotPicklable, or StandsForTask."""
        packed = dump_args(self._function, args)
        if self._writer is None:
            self._writer = Writer(dump_function(self._function))
            self._until = time.monotonic() + LONGEST_S
        self._writer.add(packed)

    def is_full(self) -> bool:
        """It should go off now."""
        writer = self._writer
        return writer is not None and (
            len(writer) >= MOST_CALLS
            or writer.size_bytes >= MOST_BYTES
            or time.monotonic() >= self._until
        )

    def taken(self) -> Iterator[Writer]:
        """What there is, if there is anything; the next call begins another one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            yield writer


def chunks_of(calls: Iterator[Args], size: int) -> Iterator[Args]:
    """The calls, `size` of them to one: arguments of `run_chunk` bound to its function."""
    while some := list(islice(calls, size)):
        yield (some,)
