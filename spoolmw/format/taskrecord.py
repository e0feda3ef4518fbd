"""What a task file is, before anyone reads or writes one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from spoolmw.errors import BadTaskFile
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Body, Spec

VERSION = 1
MAGIC = b"SPOOLMW-TASK 1\n"
#: The magic line and the header's line together; a whole `*.toml` too.
HEADER_BYTES = 64 * 1024
SUFFIX = ".task"
TOML_SUFFIX = ".toml"

#: Keys of a `.task` beside those of people, and those that only the daemon writes.
OWN_KEYS = ("id", "body")
DAEMON_KEYS = ("submitted_at", "result_name", "predecessors")


class Incomplete(BadTaskFile):
    """The file is shorter than it says; the rest may still be on its way."""


class TaskFile(NamedTuple):
    """What a dropped file, or one in `active/`, asks for."""

    spec: Spec
    id: TaskId | None
    submitted_at: float | None
    result_name: str
    body: Body
    body_offset: int
    form: str  #: "task", "toml" or "script"
    source: bytes | dict[str, object]  #: the header's line, or the tree
    predecessors: tuple[
        TaskId, ...
    ] = ()  #: of an accepted file: whom `after` was found to mean

    @property
    def header(self) -> dict[str, Any]:
        """The header's tree as the user wrote it."""
        if isinstance(self.source, dict):
            return dict(self.source)
        return dict(json.loads(self.source))


def default_result_name(dropped: str) -> str:
    """What a dropped file's result is called: its name with `.task` taken off."""
    return dropped[: -len(SUFFIX)] if dropped.endswith(SUFFIX) else dropped
