"""The future of an array: a task file that stands for many tasks, its elements."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from spoolmw.client.future import SpoolTask
from spoolmw.errors import BadTaskFile
from spoolmw.format.arrays import (
    count,
    element_id,
    element_name,
    indexes_from,
    position_of,
    ranges_text,
    read_ranges,
)
from spoolmw.format.keyed import Unfit
from spoolmw.model.spec import Array, Input

#: Elements whose results `values()` waits for at one time.
AHEAD = 1000

Indexes = str | int | range | Iterable[int] | PathLike[str]
"""What makes an array: "1-1000", range(1000), a list of numbers, or the path of a file of lines."""


class SpoolArray(SpoolTask):
    """An array as a whole. Its value, when all elements ended, is an ArrayResult.

    Where one did not succeed `result()` raises TaskFailed or CancelledError. Each element is a
    task of its own: `element(17)` is its future, `values()` goes through all of them.
    """

    elements = Array()  #: which indexes it has
    is_hidden = False  #: nobody but us knows of it: it holds the calls of a map

    def __len__(self) -> int:
        return self.total

    def element(self, index: int) -> SpoolTask:
        """The future of one element."""
        position = position_of(self.elements, index)
        if position is None:
            text = ranges_text(self.elements.ranges)
            raise IndexError(f"the array {self.name} has no element {index}: it is {text}")
        task = self.future(position, index)
        self._keeper.wait_for(task)
        return task

    def values(self) -> Iterator[Any]:
        """The value of each element, in order, as soon as it is there; raises what one raised."""
        waiting: deque[SpoolTask] = deque()
        for index in indexes_from(self.elements, 0):
            waiting.append(self.element(index))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def future(self, position: int, index: int) -> SpoolTask:
        """The future of an element that nobody waits for yet."""
        task = SpoolTask(
            self._keeper,
            element_id(self.id, position),
            element_name(self.name, index),
            self.dropped,
            f"{self.result_file.removesuffix('.result')}.{index}.result",
            keep=self.keep,
        )
        task.box, task.array, task.is_attached = self.box, self, not self.is_hidden
        task.is_command = self.is_command
        return task


def header_keys(indexes: Indexes) -> tuple[dict[str, str], Array]:
    """The key of the header that asks for these elements, and the elements. Raises BadTaskFile."""
    if isinstance(indexes, PathLike):
        path = Path(indexes)
        if not path.is_file():
            raise BadTaskFile(
                f"the array's file {path} cannot be read", why="there is no such file"
            )
        lines = path.read_bytes().removesuffix(b"\n").count(b"\n") + 1
        return {"array_file": path.name}, Array(ranges=((1, lines, 1),), file=Input(path.name))
    try:
        ranges = read_ranges(indexes if isinstance(indexes, str | int) else _text(indexes))
    except Unfit as problem:
        raise BadTaskFile(
            "the indexes of the array cannot be used", why=problem.why, fix=problem.fix
        ) from None
    array = Array(ranges=ranges)
    if not count(array):
        raise BadTaskFile("the array has no elements", fix='write array="1-1000"')
    return {"array": ranges_text(ranges)}, array


def _text(indexes: Iterable[int]) -> str:
    if isinstance(indexes, range) and len(indexes) and indexes.step > 0:
        return f"{indexes[0]}-{indexes[-1]}:{indexes.step}"
    return ",".join(f"{first}-{last}" for first, last in _runs(list(indexes)))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Numbers that follow each other, as pairs of the first and the last."""
    first = last = None
    for number in numbers:
        if last is not None and first is not None:
            if number == last + 1:
                last = number
                continue
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
