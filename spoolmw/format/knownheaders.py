"""Recognises headers as the helper writes them, of which most say the same as one before.

Such a header is read strictly once; then its rest, behind id, name and body, is looked up.
"""

from __future__ import annotations

import re

from spoolmw.format.taskrecord import MAGIC, TaskFile, default_result_name
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Body, Run, Spec

#: A header as `Template` begins it; what follows is mostly the same for many tasks.
_HELPERS = re.compile(
    rb'SPOOLMW-TASK 1\n\{"id": "([0-9a-f]{32})", '
    rb'"name": "([A-Za-z0-9][A-Za-z0-9 ._-]{0,127})", '
    rb'"body": \{"codec": "pickle", "bytes": ([1-9]\d{0,14}), "sha256": "([0-9a-f]{64})"\}'
)
#: What follows (it was read strictly once) -> the spec that it made.
_specs: dict[bytes, Spec] = {}
_MOST_SPECS = 1024
_MOST_SPEC_BYTES = 4096


def recall(data: bytes, *, dropped: str) -> TaskFile | None:
    """The task in `data`, if a header like its own was remembered; its length is not checked."""
    hit = _HELPERS.match(data)
    if hit is None:
        return None
    end = data.find(b"\n", hit.end())
    spec = _specs.get(data[hit.end() : end])
    if spec is None or end < 0:
        return None
    task_id, name, length, sha256 = map(bytes.decode, hit.groups())
    if int(length) <= spec.redundancy.code_bytes:
        return None  # no room for a call: the strict reader says so
    if name != spec.name:
        spec = like(spec, name=name, run=spec.run)
    body = Body(codec="pickle", size_bytes=int(length), sha256=sha256)
    return TaskFile(
        spec,
        TaskId(task_id),
        None,
        default_result_name(dropped),
        body,
        end + 1,
        "task",
        data[len(MAGIC) : end],
    )


def remember(header: bytes, spec: Spec) -> None:
    """This header, from its magic line on, was read strictly and made `spec`."""
    hit = _HELPERS.match(header)
    if hit is None or len(header) - hit.end() > _MOST_SPEC_BYTES:
        return
    if len(_specs) >= _MOST_SPECS:
        _specs.clear()
    _specs[header[hit.end() :]] = spec


def like(spec: Spec, *, name: str, run: Run) -> Spec:
    """`spec` with another name and command; dataclasses.replace() takes three times as long."""
    return Spec(
        name=name,
        key=spec.key,
        priority=spec.priority,
        after=spec.after,
        after_failed=spec.after_failed,
        takes=spec.takes,
        run=run,
        files=spec.files,
        resources=spec.resources,
        limits=spec.limits,
        retry=spec.retry,
        checkpoint=spec.checkpoint,
        place=spec.place,
        array=spec.array,
        redundancy=spec.redundancy,
    )
