"""Puts the values of other tasks in the place of the arguments that stand for them.

The daemon keeps the result files of predecessors in the folder `values`, each under its task's
id. In a call's pickle a persistent id stands for each: `("task", ID)`, or `("value", VALUE)`
where the caller had the value already. Only tasks that the header names are read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from typing import Any, Dict, Sequence, Union

from . import safe

MAGIC = b"SPOOLMW-RESULT 1\n"
_PIECE = 1 << 20


class Gone(Exception):
    """The value of a predecessor cannot be had, or is damaged; the text says whose and why."""


class Arguments:
    """Unpacks one call whose arguments are, in part, the values of the tasks in `takes`."""

    def __init__(self, folder: str, takes: Sequence[str]) -> None:
        self._folder = folder
        self._takes = frozenset(takes)
        self._values: Dict[str, Any] = {}

    def load(self, body: Union[bytes, bytearray]) -> Any:
        """The call in `body`. Raises Gone, and whatever unpickling raises."""
        unpickler = _Unpickler(io.BytesIO(body))
        unpickler.arguments = self
        return unpickler.load()

    def value(self, task: str) -> Any:
        """The value of a predecessor; the same object each time."""
        if task not in self._takes:
            raise Gone(
                f"the call takes the value of task {task}, which its header does not name"
            )
        if task not in self._values:
            self._values[task] = _decode(task, *_read(f"{self._folder}/{task}", task))
        return self._values[task]


class _Unpickler(pickle.Unpickler):
    arguments: Arguments

    def persistent_load(self, pid: Any) -> Any:
        kind, what = pid
        return what if kind == "value" else self.arguments.value(what)


def _read(path: str, task: str) -> Any:
    """Header, value and trailer of the result at `path`, all digests checked."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)
            view, have = memoryview(data), 0
            while have < len(data):
                count = file.readinto(view[have : have + _PIECE])
                if not count:
                    break
                have += count
    except OSError as error:
        raise Gone(f"the value of task {task} cannot be read: {error.strerror}") from error
    try:
        start = data.index(b"\n", len(MAGIC)) + 1
        header = json.loads(data[len(MAGIC) : start])
        end = start + header["bytes"]
        trailer = json.loads(data[end:])
        whole = hashlib.sha256(view[:end]).hexdigest() == trailer["digest"]
        if not (whole and data.startswith(MAGIC) and trailer["id"] == task):
            raise ValueError("its digest or its task is another")
    except (ValueError, KeyError, TypeError) as error:
        raise Gone(f"the value of task {task} is damaged: {error}") from error
    return header, view[start:end], trailer


def _decode(
    task: str, header: Dict[str, Any], value: memoryview, trailer: Dict[str, Any]
) -> Any:
    codec = header.get("codec")
    if codec == "safe":
        return safe.loads(value)
    if codec == "pickle" and trailer.get("trusted", True) is True:
        return pickle.loads(value)  # noqa: S301  of trusted agents only, as the submitter
    if codec == "pickle":
        raise Gone(f"the value of task {task} is a pickle of a host that is not trusted")
    raise Gone(f"task {task} has no value: it is a command, or it did not succeed")
