"""A checkpoint as one file: a tar that moves a run to another task or another spool.

In it, in this order: with a task `task/NAME.task` and its inputs below `task/NAME.task.in/`;
then `checkpoint/MANIFEST` and the checkpoint's files beside it.

Rule: nothing in a tar is believed. Only plain files with the names that the manifest gives are
taken, each is held against its length and digest, and what is taken appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from spoolmw.errors import BadCheckpoint
from spoolmw.format.names import escape, path_problem
from spoolmw.model.attempt import Saved
from spoolmw.model.ids import TaskId
from spoolmw.runner import checkpoint
from spoolmw.runner.checkpoint import Checkpoint, Damaged, Draft, Owner
from spoolmw.spooldir.checkpoints import Order
from spoolmw.spooldir.layout import Layout

CHECKPOINT, TASK = "checkpoint/", "task/"
MANIFEST = CHECKPOINT + checkpoint.MANIFEST
_PIECE_BYTES = 1 << 20
_MOST_MANIFEST_BYTES = 16 << 20
#: What a manifest says of its owner and its content; the rest goes along as it is.
_OWN_KEYS = frozenset({"format", "task", "replica", "attempt", "sequence", "kind", "files"})


class TaskFile(NamedTuple):
    """A file that goes along so that the tar can be submitted: the task's own, or an input."""

    name: str  #: below `task/`
    content: bytes | Path
    executable: bool = False


def owner_of(layout: Layout, task: TaskId, replica: int = 0) -> Owner:
    """Whose checkpoints, as the runner says it."""
    return Owner(str(layout.checkpoints), task, replica)


def newest_whole(owner: Owner, since: int = 0) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and what is wrong with newer ones. Changes nothing."""
    notes: list[str] = []
    for order in checkpoint.orders(owner):
        if order[0] < since:
            break
        try:
            return checkpoint.verify(f"{owner.folder}/{order[0]}-{order[1]}", owner), notes
        except Damaged as error:
            notes.append(f"checkpoint {order[0]}-{order[1]} is damaged: {error}")
    return None, notes


def told_by(path: Path) -> Mapping[str, Any] | str:
    """A checkpoint's manifest, or what is wrong with it; its files are not looked at."""
    try:
        return checkpoint.read_manifest(str(path))
    except Damaged as error:
        return str(error)


def problem_with(path: Path, owner: Owner) -> str:
    """What is wrong with a checkpoint, every byte of it checked; empty when it is whole."""
    try:
        checkpoint.verify(str(path), owner)
    except Damaged as error:
        return str(error)
    return ""


def write(out: IO[bytes], found: Checkpoint, along: Sequence[TaskFile] = ()) -> None:
    """Write a whole checkpoint as a tar, with a task's files if `along` has any. Raises OSError."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for each in along:
            _add(tar, TASK + each.name, each.content, executable=each.executable)
        for name in (checkpoint.MANIFEST, *(each["name"] for each in found.manifest["files"])):
            _add(tar, CHECKPOINT + name, Path(found.path, name))


def _add(
    tar: tarfile.TarFile, name: str, content: bytes | Path, *, executable: bool = False
) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if executable else 0o644
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    with content.open("rb") as file:
        file.seek(0, io.SEEK_END)
        info.size = file.tell()
        file.seek(0)
        tar.addfile(info, file)


def take(
    source: IO[bytes], owner: Owner, order: Order, *, kind: str = "", tasks: Path | None = None
) -> Saved:
    """Make the checkpoint in a tar one of `owner`, in the place `order`.

    Only one of this `kind` is taken, if it is named. Files of a task go into the folder `tasks`,
    or are passed over. Raises BadCheckpoint, then nothing was changed; and OSError.
    """
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            members = _members(tar)
            manifest = _up_to_manifest(members, tasks)
            if kind and manifest["kind"] != kind:
                raise BadCheckpoint(
                    f"The checkpoint is one of a {manifest['kind']}, the task is a {kind}.",
                    fix="give it to the task that it belongs to",
                )
            with Draft(owner, order, manifest["kind"]) as draft:
                _fill(draft, manifest["files"], members)
                rest = {key: manifest[key] for key in manifest if key not in _OWN_KEYS}
                made = draft.seal(**rest)
                return Saved(*order, made.saved_at, made.size_bytes)
    except tarfile.TarError as error:
        raise _bad(f"it is no whole tar: {error}") from error
    except Damaged as error:
        raise _bad(str(error)) from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in tar:
        if member.isdir():
            continue
        file = tar.extractfile(member) if member.isreg() else None
        if file is None:
            raise _bad(f"{escape(member.name)} in it is no plain file")
        yield member, file


def _up_to_manifest(
    members: Iterator[tuple[tarfile.TarInfo, IO[bytes]]], tasks: Path | None
) -> dict[str, Any]:
    for member, file in members:
        if member.name == MANIFEST:
            if member.size > _MOST_MANIFEST_BYTES:
                raise _bad("its MANIFEST is too long")
            return _manifest(file.read())
        if not member.name.startswith(TASK):
            raise _bad(f"{escape(member.name)} stands before its MANIFEST")
        if tasks is not None:
            _extract(member, file, tasks)
    raise _bad("it has no MANIFEST")


def _manifest(data: bytes) -> dict[str, Any]:
    """What the manifest says, strictly. Raises Damaged and BadCheckpoint."""
    with tempfile.TemporaryDirectory(prefix="spoolmw-") as folder:
        Path(folder, checkpoint.MANIFEST).write_bytes(data)
        manifest = checkpoint.read_manifest(folder)
    names = [each["name"] for each in manifest["files"]]
    if checkpoint.MANIFEST in names or len(set(names)) < len(names):
        raise _bad("its MANIFEST names a file twice, or itself")
    if type(manifest["saved_at"]) not in (int, float):
        raise _bad("its MANIFEST does not say when it was saved")
    return manifest


def _extract(member: tarfile.TarInfo, file: IO[bytes], folder: Path) -> None:
    name = member.name.removeprefix(TASK)
    if problem := path_problem(name):
        raise _bad(f"{escape(name)} in it cannot be a file's name: {problem}")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as copy:
        shutil.copyfileobj(file, copy, _PIECE_BYTES)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _fill(
    draft: Draft,
    entries: Sequence[Mapping[str, Any]],
    members: Iterator[tuple[tarfile.TarInfo, IO[bytes]]],
) -> None:
    expected = {CHECKPOINT + each["name"]: each for each in entries}
    for member, file in members:
        entry = expected.pop(member.name, None)
        if entry is None:
            raise _bad(f"{escape(member.name)} is not in its MANIFEST, or is there twice")
        _copy(draft, entry, file)
    if expected:
        raise _bad(f"it has no {escape(next(iter(expected)))}")


def _copy(draft: Draft, entry: Mapping[str, Any], file: IO[bytes]) -> None:
    digest = hashlib.sha256()
    pen = draft.pen(entry["name"])
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
        pen.write(piece)
    if (pen.size, digest.hexdigest()) != (entry["bytes"], entry["sha256"]):
        raise _bad(f"{escape(entry['name'])} was cut short or changed")
    more = {key: entry[key] for key in entry if key not in ("name", "bytes", "sha256")}
    draft.keep(entry["name"], pen, **more)


def _bad(why: str) -> BadCheckpoint:
    return BadCheckpoint(
        "The checkpoint was not taken; nothing was changed.",
        why=why,
        fix="write it again: spoolmw-ctl checkpoint export",
    )
