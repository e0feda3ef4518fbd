"""Reads a task file in `active/`: its header and its body, whose digest is checked here.

The daemon has parsed and written these files, so nothing is checked twice but the bytes' wholeness.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict, NamedTuple, Tuple, Union

MAGIC = b"SPOOLMW-TASK 1\n"
_FIRST_READ = 32 << 10
_MAX_HEADER = 1 << 20
SEPARATOR = (
    "\x1f"  #: behind a path: from which byte on the file is this task's (no name has one)
)
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_decode = json.JSONDecoder().decode  #: `json.loads` without the guess at the encoding


class Damaged(Exception):
    """The file is not what the daemon wrote: cut short, changed, or of another format."""


class TaskFile(NamedTuple):
    header: Dict[str, Any]
    body: Union[bytes, bytearray]
    function: bytes = b""  #: of an array of calls; the body then has the arguments only


def read_header(path: str) -> Dict[str, Any]:
    """Only the header; raises as `read` does."""
    fd = opened(path)
    try:
        data, end = begin(fd)
    finally:
        os.close(fd)
    return header_in(data, end)


def opened(path: str) -> int:
    """The file, at the byte where the task begins: on a host several may lie in one file."""
    if SEPARATOR not in path:
        return os.open(path, _READ_FLAGS)
    path, _, offset = path.partition(SEPARATOR)
    fd = os.open(path, _READ_FLAGS)
    os.lseek(fd, int(offset), os.SEEK_SET)
    return fd


def begin(fd: int) -> Tuple[bytes, int]:
    """The beginning of a file, and where in it its header ends."""
    data = os.read(fd, _FIRST_READ)
    end = data.find(b"\n", len(MAGIC))
    while end < 0 and len(data) < _MAX_HEADER:
        more = os.read(fd, _MAX_HEADER)
        if not more:
            break
        data += more
        end = data.find(b"\n", len(MAGIC))
    return data, end


def read(path: str) -> TaskFile:
    """The whole task; raises Damaged, or OSError when the file is not there."""
    fd = opened(path)
    try:
        data, end = begin(fd)
        header = header_in(data, end)
        told = header.get("body") or {}
        body = _body(fd, data, end + 1, int(told.get("bytes", 0)))
    finally:
        os.close(fd)
    digest = told.get("sha256")
    if digest and hashlib.sha256(body).hexdigest() != digest:
        raise Damaged("the task's body has another digest than its header says")
    return TaskFile(header, body)


def header_in(data: bytes, end: int) -> Dict[str, Any]:
    """The header in the beginning of a file. Raises Damaged."""
    if not data.startswith(MAGIC) or end < 0:
        raise Damaged("the task file has no header of version 1")
    try:
        header = _decode(data[len(MAGIC) : end].decode())
    except ValueError as error:
        raise Damaged(f"the task's header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise Damaged("the task's header is not an object")
    return header


def _body(fd: int, data: bytes, start: int, size: int) -> Union[bytes, bytearray]:
    have = len(data) - start
    if have >= size:
        return data[start : start + size]
    body = bytearray(size)
    body[:have] = data[start:]
    view = memoryview(body)
    at = have
    while at < size:
        count = os.readv(fd, [view[at:]])
        if not count:
            raise Damaged(f"the task's body has {at} bytes, its header says {size}")
        at += count
    return body
