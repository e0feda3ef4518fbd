"""Turns a header into the texts that the journal keeps of it, and back.

The header's sections are shared between tasks, so their JSON is made once for each distinct
set and found again by identity; decoding shares the sections of equal texts the same way.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from spoolmw.model.ids import TaskId
from spoolmw.model.redundancy import Redundancy, Validator
from spoolmw.model.spec import (
    Array,
    Checkpoint,
    Files,
    Input,
    Limits,
    Place,
    Resources,
    Retry,
    Run,
    Spec,
)
from spoolmw.model.task import Task

#: Distinct headers kept encoded, and decoded; beyond it the memory is started anew.
MOST_CACHED = 4096
_SECTIONS: dict[str, type[Any]] = {
    "run": Run,
    "files": Files,
    "resources": Resources,
    "limits": Limits,
    "retry": Retry,
    "checkpoint": Checkpoint,
    "place": Place,
    "redundancy": Redundancy,
}
_DEFAULTS = {name: kind() for name, kind in _SECTIONS.items()}

_Decoded = tuple[
    int, Run, Files, Resources, Limits, Retry, Checkpoint, Place, Redundancy, Array | None
]
_encoded: dict[tuple[int, ...], tuple[str, Spec]] = {}
_decoded: dict[str, _Decoded] = {}
_afters: dict[str, tuple[Any, tuple[TaskId, ...], Any, str]] = {}


def after_text(task: Task) -> str:
    """Words and ids of the predecessors, which of their values are taken, what a failure does."""
    spec = task.spec
    tree = [spec.after, task.predecessors, spec.takes, spec.after_failed]
    return json.dumps(tree, separators=(",", ":"))


def with_after(spec: Spec, text: str) -> tuple[Spec, tuple[TaskId, ...]]:
    """The header with what `after_text` wrote; the same words are kept once for many tasks."""
    known = _afters.get(text)
    if known is None:
        after, ids, takes, failed = json.loads(text)
        words = tuple(map(sys.intern, after))
        predecessors: Any = words if ids == after else tuple(map(sys.intern, ids))
        known = words, predecessors, tuple(map(sys.intern, takes)), failed
        if len(_afters) >= MOST_CACHED:
            _afters.clear()
        _afters[text] = known
    after, predecessors, takes, failed = known
    return replace(spec, after=after, takes=takes, after_failed=failed), predecessors


def spec_text(spec: Spec) -> str:
    """The sections of a header as JSON, without what is default or has a column of its own."""
    key = (
        spec.priority, id(spec.run), id(spec.files), id(spec.resources),
        id(spec.limits), id(spec.retry), id(spec.checkpoint), id(spec.place),
        id(spec.redundancy), id(spec.array),
    )  # fmt: skip
    known = _encoded.get(key)
    if known is not None:
        return known[0]
    tree: dict[str, Any] = {"priority": spec.priority} if spec.priority else {}
    for name, default in _DEFAULTS.items():
        section = getattr(spec, name)
        if section != default:
            tree[name] = changed_fields(section, default)
    if spec.array is not None:
        file = spec.array.file
        tree["array"] = [spec.array.ranges, file and _input_list(file)]
    text = json.dumps(tree, separators=(",", ":"))
    if len(_encoded) >= MOST_CACHED:
        _encoded.clear()
    _encoded[key] = (text, spec)  # the spec keeps the sections, and so their identities, alive
    return text


def changed_fields(section: Any, default: Any) -> dict[str, Any]:
    """The fields of a record that are not as in `default`."""
    fields = ((name, getattr(section, name)) for name in section.__slots__)
    return {
        name: _plain(name, value) for name, value in fields if value != getattr(default, name)
    }


def _plain(name: str, value: Any) -> Any:
    if name == "inputs":
        return [_input_list(item) for item in value]
    return changed_fields(value, Validator()) if name == "validator" else value


def _input_list(item: Input) -> list[Any]:
    return [item.name, item.digest, item.size_bytes, item.executable]


def spec_of(text: str, name: str, key: str) -> Spec:
    """The header that `spec_text` wrote."""
    known = _decoded.get(text)
    if known is None:
        known = _decode_spec(text)
        if len(_decoded) >= MOST_CACHED:
            _decoded.clear()
        _decoded[text] = known
    priority, run, files, resources, limits, retry, checkpoint, place, redundancy, array = known
    return Spec(
        name=name,
        key=key,
        priority=priority,
        run=run,
        files=files,
        resources=resources,
        limits=limits,
        retry=retry,
        checkpoint=checkpoint,
        place=place,
        array=array,
        redundancy=redundancy,
    )


def _decode_spec(text: str) -> _Decoded:
    tree = json.loads(text)
    made: list[Any] = [_section(kind, tree.get(name)) for name, kind in _SECTIONS.items()]
    run, files, resources, limits, retry, checkpoint, place, redundancy = made
    array = _array(*tree["array"]) if "array" in tree else None
    priority = tree.get("priority", 0)
    return priority, run, files, resources, limits, retry, checkpoint, place, redundancy, array


def _array(ranges: list[list[int]], file: list[Any] | None) -> Array:
    return Array(
        ranges=tuple((first, last, step) for first, last, step in ranges),
        file=Input(*file) if file else None,
    )


def _section(kind: type[Any], fields: dict[str, Any] | None) -> Any:
    if fields is None:
        return next(default for default in _DEFAULTS.values() if type(default) is kind)
    values = {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if isinstance(value, list)
        else value
        for name, value in fields.items()
    }
    if "inputs" in values:
        values["inputs"] = tuple(Input(*item) for item in values["inputs"])
    if "validator" in values:
        values["validator"] = _section(Validator, fields["validator"])
    return kind(**values)
