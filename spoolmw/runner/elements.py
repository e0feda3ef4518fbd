"""Reads an array's file once and makes of it the task of each element.

Rule: what is kept are bytes and the header, which no attempt ever sees; nothing that was unpickled.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from . import calls, placeholders, reading
from .order import Element
from .reading import TaskFile

MOST_KEPT_BYTES = 16 << 20  #: of a body; a larger one is read again for each element
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC


class Source:
    """The array that a worker runs elements of; one at a time is kept."""

    def __init__(self) -> None:
        self._path = ""
        self._task: Optional[TaskFile] = None
        self._calls: Optional[calls.Calls] = None
        self._has_braces = False

    def task(self, path: str, element: Element) -> TaskFile:
        """The task of one element; raises reading.Damaged, or OSError when the file is not there."""
        if path != self._path or self._task is None:
            self._open(path)
        task = self._task
        assert task is not None
        header = filled(task.header, element) if self._has_braces else task.header
        if self._calls is None:
            if len(task.body) > MOST_KEPT_BYTES:
                self._task = None
            return TaskFile(header, task.body)
        try:
            item = self._calls.item(element.position)
        except calls.Damaged as error:
            raise reading.Damaged(str(error)) from error
        return TaskFile(header, item.args, item.function)

    def _open(self, path: str) -> None:
        if self._calls is not None:
            self._calls.close()
        self._path, self._task, self._calls = "", None, None
        header = reading.read_header(path)
        if (header.get("body") or {}).get("codec") == "calls":
            self._calls = _calls(path, header["body"])
            self._task = TaskFile(header, b"")
        else:
            self._task = reading.read(path)
        self._has_braces = filled(header, Element(0, 0, "")) != header
        self._path = path


def _calls(path: str, told: Dict[str, Any]) -> calls.Calls:
    fd = os.open(path, _READ_FLAGS)
    try:
        _, end = reading.begin(fd)
        return calls.Calls(fd, end + 1, int(told["bytes"]), str(told["sha256"]))
    except calls.Damaged as error:
        os.close(fd)
        raise reading.Damaged(str(error)) from error
    except BaseException:
        os.close(fd)
        raise


def filled(header: Dict[str, Any], element: Element) -> Dict[str, Any]:
    """The header with `{index}` and `{line}` filled in: in command, values of env, and outputs."""

    def fill(text: str) -> str:
        return placeholders.fill(text, element.index, element.line)

    run: Dict[str, Any] = dict(header.get("run") or {})
    files: Dict[str, Any] = dict(header.get("files") or {})
    if "command" in run:
        run["command"] = [fill(word) for word in run["command"]]
    if "env" in run:
        run["env"] = {name: fill(value) for name, value in run["env"].items()}
    if "outputs" in files:
        files["outputs"] = [fill(pattern) for pattern in files["outputs"]]
    more = {name: part for name, part in (("run", run), ("files", files)) if name in header}
    return {**header, **more}


def variables(element: Element) -> Dict[str, str]:
    """What an element finds of itself in its environment."""
    found = {"SPOOLMW_ARRAY_INDEX": str(element.index)}
    if element.line is not None:
        found["SPOOLMW_ARRAY_LINE"] = element.line
    return found
