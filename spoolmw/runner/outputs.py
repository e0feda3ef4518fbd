"""Files that travel with an attempt: inputs into its folder, outputs out of it.

Rule: links are neither followed nor taken: what they point at is not the attempt's own.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

from . import results

_COPY_BYTES = 8 << 20
#: What one attempt may bring home from another machine.
MOST_FILES = 100_000
MOST_NAME_BYTES = 2000
MOST_PARTS = 64  #: of a name: folders, and the file
_OWN = ("stdout", "stderr")  #: names in the folder of outputs that are spoken for


class Kept(NamedTuple):
    """What an attempt left."""

    files: List[Dict[str, Any]]  #: name, bytes, sha256; stdout and stderr first
    total_bytes: int
    missing: List[str]  #: declared patterns that nothing matched


def fresh(folder: str) -> None:
    """Make an empty folder, whatever stood there."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        empty(folder)


def empty(folder: str) -> None:
    """Remove all that is in a folder; links are removed, never followed."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.chmod(entry.path, 0o700)
            empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


def remove(folder: str) -> None:
    """Remove a folder with all that is in it; that it is not there is no error."""
    with contextlib.suppress(FileNotFoundError):
        empty(folder)
        os.rmdir(folder)


def bring(inputs: Sequence[Dict[str, Any]], store: str, scratch: str) -> None:
    """Copy the inputs into an attempt's folder; raises OSError.

    Copied, not linked: an attempt may write into its files, the store is everybody's.
    """
    for each in inputs:
        target = os.path.join(scratch, each["name"])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        mode = 0o700 if each.get("executable") else 0o600
        try:
            copy(os.path.join(store, each["sha256"]), target, mode)
        except OSError as error:
            text = f"input {each['name']}: {error.strerror}"
            raise OSError(error.errno, text) from error


def copy(source: str, target: str, mode: int) -> None:
    """Copy a file to where there is none. Raises OSError."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _copy_open(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_open(reading: int, writing: int) -> None:
    """Let the kernel copy (some file systems then share the blocks)."""
    left = os.fstat(reading).st_size
    while left > 0:
        count = os.sendfile(writing, reading, None, min(left, _COPY_BYTES))
        if not count:
            return
        left -= count


def collect(scratch: str, folder: str, patterns: Sequence[str], inputs: Sequence[str]) -> Kept:
    """Move an attempt's outputs from its working directory to where they are delivered from."""
    found = sorted(regular_files(scratch))
    if patterns:
        chosen = [name for name in found if any(matches(name, each) for each in patterns)]
        missing = [each for each in patterns if not any(matches(name, each) for name in found)]
    else:
        chosen, missing = [name for name in found if name not in set(inputs)], []
    files = describe_own(folder)
    for name in chosen:
        target = f"{name}.output" if name in _OWN else name
        if "/" in target:
            os.makedirs(os.path.dirname(f"{folder}/{target}"), exist_ok=True)
        os.rename(f"{scratch}/{name}", f"{folder}/{target}")
        files.append(_described(folder, target))
    return Kept(files, sum(each["bytes"] for each in files), missing)


def describe_own(folder: str) -> List[Dict[str, Any]]:
    """The files of what an attempt printed; empty ones too."""
    files = []
    for name in _OWN:
        with contextlib.suppress(FileNotFoundError):
            files.append(_described(folder, name))
    return files


def matches(name: str, pattern: str) -> bool:
    """Whether a relative path fits a pattern; `*` stays in one folder, `**` spans any number."""
    return _fits(name.split("/"), pattern.split("/"))


def _fits(parts: List[str], wanted: List[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_fits(parts[at:], wanted[1:]) for at in range(len(parts) + 1))
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], wanted[0])
        and _fits(parts[1:], wanted[1:])
    )


def cannot_travel(names: Sequence[str]) -> str:
    """Why files of these names cannot be sent; empty: they can."""
    if len(names) > MOST_FILES:
        return f"{len(names)} files are more than can be sent ({MOST_FILES})"
    for name in names:
        if len(os.fsencode(name)) > MOST_NAME_BYTES or name.count("/") >= MOST_PARTS:
            return f"the name {name[:80]!a}... is too long to be sent"
    return ""


def size_of(folder: str, most_files: int) -> int:
    """Bytes in a folder, as far as `most_files` entries tell."""
    total = 0
    for seen, name in enumerate(regular_files(folder)):
        if seen >= most_files:
            break
        with contextlib.suppress(OSError):
            total += os.lstat(f"{folder}/{name}").st_size
    return total


def printed(paths: Sequence[str]) -> int:
    """Bytes in these files; what is not there counts nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += os.stat(path).st_size
    return total


def regular_files(folder: str, prefix: str = "") -> Iterator[str]:
    """The names of all files in a folder, links left out."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return  # it is going, or it is forbidden: nothing to take
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from regular_files(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name


def _described(folder: str, name: str) -> Dict[str, Any]:
    path = f"{folder}/{name}"
    found = os.lstat(path)
    if not found.st_mode & stat.S_IRUSR:
        os.chmod(path, stat.S_IMODE(found.st_mode) | stat.S_IRUSR)  # the consumer shall read it
    size, digest = results.digest_of(path) if found.st_size else (0, results.EMPTY)
    return {
        "name": os.fsencode(name).decode("utf-8", "replace"),
        "bytes": size,
        "sha256": digest,
    }
