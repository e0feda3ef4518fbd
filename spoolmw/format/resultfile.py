"""Reads result files, and writes what of them is the daemon's: the trailer.

Four parts: the magic line, one line of JSON (the header), the value's bytes, and a last line
of JSON (the trailer). The first three are the body: written by the worker, covered by the
digest. The trailer is a pure function of committed state.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from spoolmw.errors import BadResultFile
from spoolmw.format.names import escape
from spoolmw.format.trailer import MAGIC, VERSION, daemon_body, trailer_line

SUFFIX = ".result"
FILES_SUFFIX = ".files"
#: A header with traceback and tails stays far below this.
_MOST_HEADER_BYTES = 4 * 1024 * 1024
_TRAILER_STEP = 16 * 1024


class ResultFile(NamedTuple):
    """One result. `trailer` is None while the file is still in `stage/`."""

    header: dict[str, Any]
    value: memoryview
    trailer: dict[str, Any] | None


def read(path: str | os.PathLike[str]) -> ResultFile:
    """The whole result at `path`, its digest checked; raises `BadResultFile` or `OSError`."""
    with open(path, "rb", buffering=0) as file:
        data = file.readall()
    return parse(data, str(path))


def parse(data: bytes, name: str) -> ResultFile:
    """As `read`, of bytes that were read before; `name` is for the errors."""
    header, start = _header(data, name)
    length = header.get("bytes", 0)
    if type(length) is not int or not 0 <= length <= len(data) - start:
        raise _bad(name, "its value is not whole")
    end = start + length
    trailer = None
    if end != len(data):
        trailer = _trailer(data[end:], name)
        if trailer.get("digest") != hashlib.sha256(memoryview(data)[:end]).hexdigest():
            raise _bad(name, "its digest is not the one that its trailer says")
    elif length and header.get("sha256") != hashlib.sha256(data[start:]).hexdigest():
        raise _bad(name, "its value's digest is not the one that its header says")
    return ResultFile(header, memoryview(data)[start:end], trailer)


def read_head(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Only the header at `path`: what a look at a large result needs."""
    with open(path, "rb", buffering=0) as file:
        data = file.read(_TRAILER_STEP)
        while b"\n" not in data[len(MAGIC) :] and len(data) < _MOST_HEADER_BYTES:
            more = file.read(_MOST_HEADER_BYTES)
            if not more:
                break
            data += more
    return _header(data, str(path))[0]


def read_trailer(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Only the trailer at `path`, without reading the value."""
    with open(path, "rb", buffering=0) as file:
        line = _last_line(file.fileno())
    return _trailer(b"\n" + line, str(path))


def body_bytes(path: str | os.PathLike[str]) -> int:
    """The length of a whole result without its trailer and the line end before that."""
    with open(path, "rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size - len(_last_line(file.fileno())) - 1


def _last_line(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    want = _TRAILER_STEP
    while True:
        start = max(0, size - want)
        tail = os.pread(fd, want, start)
        line = tail[:-1].rpartition(b"\n")
        if line[1] or not start:
            return line[2] + tail[-1:]
        want *= 8


def files_folder(path: Path) -> Path:
    """Where the output files of the result at `path` are."""
    return path.with_name(path.name.removesuffix(SUFFIX) + FILES_SUFFIX)


def _header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    if not data.startswith(MAGIC):
        why = "it is empty" if not data else "its first line is not SPOOLMW-RESULT 1"
        raise _bad(name, why)
    end = data.find(b"\n", len(MAGIC), _MOST_HEADER_BYTES)
    if end < 0:
        raise _bad(name, "its header has no end")
    return _object(data[len(MAGIC) : end], name, "header"), end + 1


def _trailer(data: bytes, name: str) -> dict[str, Any]:
    if data[:1] != b"\n" or data[-1:] != b"\n":
        raise _bad(name, "its trailer is not whole")
    trailer = _object(data[1:-1], name, "trailer")
    if trailer.get("trailer") != VERSION:
        raise _bad(name, "its last line is no trailer of version 1")
    return trailer


def _object(line: bytes, name: str, part: str) -> dict[str, Any]:
    try:
        tree = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _bad(name, f"its {part} is not JSON") from None
    if not isinstance(tree, dict):
        raise _bad(name, f"its {part} is not a JSON object")
    return tree


def _bad(name: str, why: str) -> BadResultFile:
    return BadResultFile(
        f"{escape(name)} is not a whole result file.",
        why=why,
        fix="take it from a backup, or submit the task anew (spoolmw-ctl retry: only if it failed)",
    )


__all__ = [
    "FILES_SUFFIX",
    "MAGIC",
    "SUFFIX",
    "VERSION",
    "ResultFile",
    "body_bytes",
    "daemon_body",
    "files_folder",
    "parse",
    "read",
    "read_head",
    "read_trailer",
    "trailer_line",
]
