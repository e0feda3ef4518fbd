"""Packs the runner into one file that any Python from 3.9 on can run: a zipapp with cloudpickle in it.

In it the package is called `spoolmw_runner`, so that it stands beside whatever `spoolmw` an
interpreter has of its own. For one that has none there is the part of `spoolmw` that tasks use,
`spoolmw.checkpoint`. The file is named by its content, so an upgrade never changes a
file that a running worker reads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import spoolmw
from spoolmw import runner
from spoolmw.errors import AgentError

INSIDE = "spoolmw_runner"  #: the package's name in the archive
FACE = ("__init__.py", "checkpoint.py")  #: of `spoolmw`, for tasks
_UNCHECKED = 1  #: a compiled module's flags: by the source's digest, which nobody looks at
_DATE = (2020, 1, 1, 0, 0, 0)  #: of all members: equal content gives equal bytes
_MAIN = f"import sys\nfrom {INSIDE}.__main__ import main\nsys.exit(main(sys.argv))\n"


def publish(folder: Path) -> Path:
    """Put the runner's archive into `folder`, if it is not there yet; returns its path."""
    data = archive()
    target = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.pyz"
    if target.exists() and target.read_bytes() == data:  # a power cut may have left less
        return target
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{target.name}"
    with open(half, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, target)
    return target


@cache
def archive() -> bytes:
    """The archive's bytes: sources for every Python, compiled modules for this one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        _add(packed, "__main__.py", _MAIN.encode())
        for name, source in sorted(_members()):
            _add(packed, name, source)
            _add(packed, f"{name}c", _compiled(name, source))
    return buffer.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    for path in _folder("spoolmw.runner", list(runner.__path__)).glob("*.py"):
        yield (
            f"{INSIDE}/{path.name}",
            path.read_bytes(),
        )
    for name in FACE:
        yield (
            f"spoolmw/{name}",
            (_folder("spoolmw", list(spoolmw.__path__)) / name).read_bytes(),
        )
    spec = importlib.util.find_spec("cloudpickle")
    places = spec.submodule_search_locations if spec else None
    for path in _folder("cloudpickle", list(places or [])).glob("*.py"):
        yield f"cloudpickle/{path.name}", path.read_bytes()


def _folder(name: str, places: list[str]) -> Path:
    if not places:
        raise AgentError(
            f"{name} was not found, and the runner needs it.",
            why="the installation of spoolmw is not complete",
            fix="install spoolmw anew with pip",
        )
    return Path(places[0])


def _compiled(name: str, source: bytes) -> bytes:
    """The module for this very Python; others find it foreign and take the source.

    Version 2 of the format has no references between its parts, which would depend on what else
    this process has loaded: every daemon makes the same archive.
    """
    code = compile(source, name, "exec", dont_inherit=True)
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED.to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code, 2)


def _add(packed: zipfile.ZipFile, name: str, data: bytes) -> None:
    packed.writestr(zipfile.ZipInfo(name, _DATE), data)
