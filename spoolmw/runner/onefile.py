"""One file that holds what an attempt brought back: where a batch system takes a single one.

A line of JSON, `{"format": 1, "files": [["report.json", 123], ["result", 45], ...]}`, and then
the bytes of these files one after the other.

Rule 1: nothing is in memory but a piece: files may be as large as a disk.
Rule 2: who unpacks trusts nobody: the names are those of a parcel, and none leads elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, BinaryIO, List, Tuple

from . import outputs, parcel
from .sandbox import TROUBLE

FORMAT = 1
_MOST_HEAD_BYTES = 8 << 20  #: the line that says what follows; 100,000 files need half of that
_MOST_FILES = outputs.MOST_FILES + 8
_PIECE_BYTES = 1 << 20
_NAME = re.compile(
    "|".join(
        (
            *map(re.escape, (parcel.REPORT, parcel.RESULT, parcel.LOG, TROUBLE)),
            f"{parcel.FILES}/(0|[1-9][0-9]{{0,8}})",
        )
    )
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Listed = List[Tuple[str, int]]  #: names, and lengths


def pack(folder: str, target: str) -> int:
    """Write all that lies in a parcel's `folder` to the file `target`; returns its length.

    It is durable when this returns; before that `target` may hold a part. Raises OSError.
    """
    listed = [(name, os.lstat(f"{folder}/{name}").st_size) for name in _inside(folder)]
    head = json.dumps({"format": FORMAT, "files": listed}, separators=(",", ":")).encode()
    with open(target, "wb") as file:
        file.write(head + b"\n")
        for name, size in listed:
            with open(f"{folder}/{name}", "rb") as source:
                _pour(source, file, size)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def unpack(source: str, folder: str, most_bytes: int) -> Listed:
    """Write the files in `source` into the empty `folder`; returns what they are.

    Raises ValueError for what `pack` does not make, and for more than `most_bytes`; OSError
    when `folder` cannot take it. A part of it may lie there then. Nothing is made durable.
    """
    with open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise ValueError(f"it has {size} bytes, at most {most_bytes} are taken")
        listed = _listed(file)
        if file.tell() + sum(each for _, each in listed) != size:
            raise ValueError("its length is another than that of all files in it")
        if any(name.startswith(f"{parcel.FILES}/") for name, _ in listed):
            os.mkdir(f"{folder}/{parcel.FILES}", 0o700)
        for name, each in listed:
            with open(os.open(f"{folder}/{name}", _NEW, 0o600), "wb") as target:
                _pour(file, target, each)
    return listed


def _inside(folder: str) -> List[str]:
    """The names of the files of a parcel; the short ones that tell of the others first."""
    found = [name for name in outputs.regular_files(folder) if _NAME.fullmatch(name)]
    return sorted(
        found, key=lambda name: (name.startswith(f"{parcel.FILES}/"), len(name), name)
    )


def _listed(file: BinaryIO) -> Listed:
    head = file.readline(_MOST_HEAD_BYTES)
    if not head.endswith(b"\n"):
        raise ValueError("it does not begin with a line that says what is in it")
    try:
        told = json.loads(head)
        if told["format"] != FORMAT or type(told["format"]) is not int:
            raise ValueError("it is of another format")
        return _checked(told["files"])
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its first line is odd: {type(error).__name__}") from None


def _checked(raw: Any) -> Listed:
    if not isinstance(raw, list) or len(raw) > _MOST_FILES:
        raise ValueError("it holds too many files, or none are named")
    listed: Listed = []
    for name, size in raw:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{str(name)[:80]!a} is no name in a parcel")
        if type(size) is not int or size < 0:
            raise ValueError(f"{name} has an odd length")
        listed.append((name, size))
    if len({name for name, _ in listed}) != len(listed):
        raise ValueError("a name stands in it twice")
    return listed


def _pour(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy exactly so many bytes."""
    while size:
        data = source.read(min(size, _PIECE_BYTES))
        if not data:
            raise ValueError("it is shorter than was said")
        size -= len(data)
        target.write(data)
