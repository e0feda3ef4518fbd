"""Finds out, for a rebuild, which elements of an array ended: by their ids in `done.log` and results."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from spoolmw.daemon.claims import Place
from spoolmw.errors import BadResultFile
from spoolmw.format.arrays import (
    count,
    element_id,
    element_position,
    family,
    index_at,
    position_of,
)
from spoolmw.format.resultfile import read_trailer
from spoolmw.format.taskfile import TaskFile
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Array
from spoolmw.model.task import FINAL, Element, Tally, TaskState
from spoolmw.spooldir.donelog import Done
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.lines import read_lines

_STATES = {state.value: state for state in FINAL}

Log = Mapping[TaskId, Done]


class Found(NamedTuple):
    """An element that ended, and how."""

    id: TaskId
    element: Element
    told: Done


def families(done: Log) -> dict[str, dict[TaskId, Done]]:
    """The log by what the ids of an array and of its elements have in common."""
    found: dict[str, dict[TaskId, Done]] = {}
    for task_id, told in done.items():
        found.setdefault(family(task_id), {})[task_id] = told
    return found


def ended_elements(layout: Layout, place: Place, parsed: TaskFile, log: Log) -> list[Found]:
    """The elements of the array at `place` that ended, as the log or a result of theirs tells."""
    array = parsed.spec.array
    if array is None or not array.ranges:
        return []
    total = count(array)
    ended: dict[int, tuple[TaskId, Done]] = {}
    for task_id, told in (*_delivered(layout, place, parsed, array, log), *log.items()):
        position = element_position(place.id, task_id)
        if position is not None and position < total and told.state in _STATES:
            ended[position] = (task_id, told)
    lines = _lines(layout, array, ended)
    return [
        Found(
            task_id,
            Element(place.id, position, index_at(array, position), lines.get(position)),
            told,
        )
        for position, (task_id, told) in sorted(ended.items())
    ]


def tally_of(parsed: TaskFile, found: list[Found]) -> Tally | None:
    """The tally of an array that ended; None for what is none. What has no end was never made."""
    if parsed.spec.array is None:
        return None
    total = count(parsed.spec.array)
    states = [_STATES[each.told.state] for each in found]
    return Tally(
        total=total,
        early=len(states),
        skipped=total - len(states),
        done=states.count(TaskState.DONE),
        failed=states.count(TaskState.FAILED),
        cancelled=states.count(TaskState.CANCELLED),
    )


def _delivered(
    layout: Layout, place: Place, parsed: TaskFile, array: Array, log: Log
) -> Iterator[tuple[TaskId, Done]]:
    """Elements of which the log does not know and whose results lie in `results/`."""
    pattern = re.compile(
        rf"{re.escape(parsed.result_name)}\.([0-9]{{1,12}})(\.[0-9a-f]{{32}})?"
    )
    try:
        names = os.listdir(layout.results / place.box)
    except FileNotFoundError:
        return
    for name in names:
        stem = name.removesuffix(".result")
        match = pattern.fullmatch(stem) if stem != name else None
        position = position_of(array, int(match[1])) if match else None
        if position is None or (task_id := element_id(place.id, position)) in log:
            continue
        trailer = trailer_of(layout, place.box, stem)
        if trailer.get("id") == task_id:
            digest, state = str(trailer.get("digest", "")), str(trailer.get("state", ""))
            yield task_id, Done("", digest, state, place.box, stem)


def trailer_of(layout: Layout, box: str, name: str) -> dict[str, Any]:
    """The trailer of the result with this name; empty where no whole one is there."""
    try:
        return read_trailer(layout.results / box / f"{name}.result")
    except (OSError, BadResultFile):
        return {}


def _lines(layout: Layout, array: Array, wanted: Mapping[int, object]) -> dict[int, str]:
    """What stands in the array's file at the positions that are wanted, for a retry."""
    if array.file is None or not wanted:
        return {}
    found: dict[int, str] = {}
    try:
        for position, line in enumerate(read_lines(layout.inputs / array.file.digest, 0)):
            if position in wanted:
                found[position] = line.text
    except OSError:
        return {}
    return found
