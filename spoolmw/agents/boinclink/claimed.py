"""The header of a result as a host may send it: each field of what our runner writes, and no other.

What stands in a header besides the value is compared with nobody's: replicas agree on values and files.
So it is bounded and of the right types, speaks of no files but those that came, and cannot make
one kind of result look like another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner.results import MAGIC

CODECS = frozenset({"", "safe"})  #: of values that strangers may send
_MOST_BYTES = 4 << 20  #: as who reads a result takes it
_MOST_TEXT = 64 << 10
_MOST_CODE = 1 << 31

Is = Callable[[Any], bool]


def _text(most: int) -> Is:
    return lambda raw: isinstance(raw, str) and len(raw) <= most


def _code(raw: Any) -> bool:
    return raw is None or (type(raw) is int and abs(raw) <= _MOST_CODE)


def _exception(raw: Any) -> bool:
    texts = isinstance(raw, dict) and all(isinstance(each, str) for each in raw.values())
    return raw is None or (texts and len(raw) <= 8)


def _files(raw: Any) -> bool:
    return isinstance(raw, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in raw
    )


_IS: Mapping[str, Is] = {
    "task": _text(32),
    "name": _text(4096),
    "attempt": lambda raw: type(raw) is int,
    "outcome": lambda raw: raw in ("success", "error"),
    "cause": _text(40),
    "codec": _text(40),
    "bytes": lambda raw: type(raw) is int,
    "sha256": _text(64),
    "stdout_tail": _text(_MOST_TEXT),
    "stderr_tail": _text(_MOST_TEXT),
    "python": _text(200),
    "host": _text(300),
    "message": _text(_MOST_BYTES),
    "exit_code": _code,
    "signal": _code,
    "exception": _exception,
    "files": _files,
}
_REST = {"message", "exit_code", "signal", "exception", "files"}
_NEEDED = _IS.keys() - _REST


def check(
    path: Path, report: Mapping[str, Any], names: Collection[str] | None, *, is_trusted: bool
) -> None:
    """The result at `path`, whose `report` was checked. Raises Garbage.

    `names` are the files that came with it; None: it is no command's.
    """
    header, left, digest = _read(path)
    odd = [key for key in header if key not in _IS or not _IS[key](header[key])]
    missing = _NEEDED - header.keys()
    if odd or missing:
        raise Garbage(f"its result has an odd header: {min([*odd, *missing])[:40]!a}")
    if header["task"] != report["attempt"].partition(".")[0]:
        raise Garbage("its result is another task's")
    if header["bytes"] != left or (left and header["sha256"] != digest):
        raise Garbage("its value has another length or digest than its header says")
    if not is_trusted and header["codec"] not in CODECS:
        raise Garbage(f"its value is encoded with {header['codec']!a}, not with the safe codec")
    said = (header["outcome"], header.get("exit_code"))
    if said != (report["outcome"], report.get("exit_code")):
        raise Garbage("its result says another end than its report")
    _speaks_of(header.get("files"), names)


def _speaks_of(told: list[dict[str, Any]] | None, names: Collection[str] | None) -> None:
    """Whoever reads a result looks for its files by these names."""
    known = None if names is None else {_shown(each) for each in names}
    if (told is None) != (known is None):
        raise Garbage("its result speaks of other files than came")
    if told is not None and known is not None and not {each["name"] for each in told} <= known:
        raise Garbage("its result speaks of other files than came")


def _shown(name: str) -> str:
    """As a header has the name of a file."""
    return os.fsencode(name).decode("utf-8", "replace")


def _read(path: Path) -> tuple[dict[str, Any], int, str]:
    """The header, how many bytes follow it, and their digest."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Garbage("its result is none")
        line = file.readline(_MOST_BYTES)
        left = os.fstat(file.fileno()).st_size - file.tell()
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        raise Garbage("its result has no header") from None
    if not isinstance(header, dict) or not line.endswith(b"\n"):
        raise Garbage("its result has no header")
    return header, left, digest
