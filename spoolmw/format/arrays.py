"""The indexes of an array: `1-1000`, `0-90:10`, `1,3,7-9`; and what its elements are called.

Positions count the elements from 0 in their order; an index is what the user wrote. Nothing here
costs more for a million elements than for ten.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from spoolmw.format.keyed import Unfit, shown
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Array, Spec

#: The most elements that ids can be told apart for: six hexadecimal digits count them.
MOST_ELEMENTS = 0xFFFFFF
#: Ranges in one array.
MOST_RANGES = 4096
_COUNTED = slice(12, 18)  #: the digits of an element's id that count; `short()` shows them
_NUMBER = r"0|[1-9][0-9]{0,11}"
_RANGE = re.compile(rf"({_NUMBER})(?:-({_NUMBER})(?::({_NUMBER}))?)?", re.ASCII)
_FIX = 'write it as "1-1000", "0-90:10" (a step) or "1,3,7-9"'

Ranges = tuple[tuple[int, int, int], ...]


def read_ranges(raw: object) -> Ranges:
    """The ranges that a header asks for, each above the one before it; raises `Unfit`."""
    if type(raw) is int and 0 <= raw < 10**12:
        return ((raw, raw, 1),)
    if not isinstance(raw, str):
        raise Unfit("the indexes of an array are a text", _FIX)
    parts = raw.split(",")
    if len(parts) > MOST_RANGES:
        raise Unfit(f"an array has at most {MOST_RANGES} ranges", "use array_file instead")
    ranges: list[tuple[int, int, int]] = []
    for part in parts:
        one = _range(part)
        if ranges and one[0] <= ranges[-1][1]:
            raise Unfit(
                f"{shown(part)} does not come after {ranges[-1][1]}",
                "put the indexes in ascending order, each once",
            )
        ranges.append(one)
    return tuple(ranges)


def _range(part: str) -> tuple[int, int, int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise Unfit(f"{shown(part)} is no index and no range of indexes", _FIX)
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    step = 1 if match[3] is None else int(match[3])
    if last < first:
        raise Unfit(f"{shown(part)} ends before it begins", f'write "{last}-{first}"')
    if step == 0:
        raise Unfit(f"{shown(part)} has a step of 0", _FIX)
    return first, first + (last - first) // step * step, step


def ranges_text(ranges: Ranges) -> str:
    """The ranges as the user would write them."""
    return ",".join(
        str(first) if first == last else f"{first}-{last}" + (f":{step}" if step > 1 else "")
        for first, last, step in ranges
    )


def count(array: Array) -> int:
    """How many elements the array has; 0 while its file is not accepted."""
    return sum(_sizes(array))


def index_at(array: Array, position: int) -> int:
    """The index of the element at a position."""
    for (first, _, step), size in zip(array.ranges, _sizes(array), strict=True):
        if position < size:
            return first + position * step
        position -= size
    raise IndexError("there is no element at this position")


def indexes_from(array: Array, position: int) -> Iterator[int]:
    """The indexes of the elements from a position on, in order."""
    for (first, last, step), size in zip(array.ranges, _sizes(array), strict=True):
        if position < size:
            yield from range(first + max(position, 0) * step, last + 1, step)
        position -= size


def position_of(array: Array, index: int) -> int | None:
    """The position of the element with this index; None: there is none."""
    place = bisect_right(array.ranges, (index, 10**12, 0)) - 1
    if place < 0:
        return None
    first, last, step = array.ranges[place]
    if index > last or (index - first) % step:
        return None
    before = [0, *accumulate(_sizes(array))]
    return before[place] + (index - first) // step


def _sizes(array: Array) -> list[int]:
    return [(last - first) // step + 1 for first, last, step in array.ranges]


def element_name(name: str, index: int) -> str:
    """What the element of the array `name` is called, and its result."""
    return f"{name}.{index}"


def element_spec(spec: Spec, index: int) -> Spec:
    """What an element asks for: all that its array does, under its own name, without the key."""
    # dataclasses.replace() takes three times as long.
    return Spec(
        name=element_name(spec.name, index),
        priority=spec.priority,
        run=spec.run,
        files=spec.files,
        resources=spec.resources,
        limits=spec.limits,
        retry=spec.retry,
        checkpoint=spec.checkpoint,
        place=spec.place,
    )


def split_name(name: str) -> tuple[str, int] | None:
    """The array's name and the index in what may be an element's name."""
    stem, dot, index = name.rpartition(".")
    if not dot or not stem or not re.fullmatch(_NUMBER, index, re.ASCII):
        return None
    return stem, int(index)


def element_id(array: TaskId, position: int) -> TaskId:
    """The id of an element: its array's, counted on in the digits 13 to 18.

    So an id tells of which array and which element it is, also where the journal is lost.
    """
    counted = (int(array[_COUNTED], 16) + position + 1) & MOST_ELEMENTS
    return TaskId(f"{array[:12]}{counted:06x}{array[18:]}")


def element_position(array: TaskId, task: str) -> int | None:
    """The position of `task` if its id is that of an element of `array`; else None."""
    if task[18:] != array[18:] or task[:12] != array[:12] or task == array:
        return None
    return (int(task[_COUNTED], 16) - int(array[_COUNTED], 16) - 1) & MOST_ELEMENTS


def family(task: str) -> str:
    """What the ids of an array and all its elements have in common."""
    return task[:12] + task[18:]
