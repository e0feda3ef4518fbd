"""A checkpoint as a tar: what goes out comes in whole, and nothing else comes in."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolmw.errors import BadCheckpoint
from spoolmw.model.ids import TaskId
from spoolmw.runner.checkpoint import Checkpoint, Draft, encoded
from spoolmw.spooldir import checkpointfile as tars
from spoolmw.spooldir.checkpointfile import TaskFile
from spoolmw.spooldir.checkpoints import Order
from spoolmw.spooldir.layout import Layout

FIRST, SECOND = TaskId("0193a000" + "0" * 24), TaskId("0193a001" + "0" * 24)
STATE = b"the state" * 1000


def a_checkpoint(layout: Layout, sequence: int = 1, kind: str = "call") -> Checkpoint:
    owner = tars.owner_of(layout, FIRST)
    with Draft(owner, (1, sequence), kind) as draft:
        for name, data in (("state.pickle", STATE), ("data/log", b"")):
            pen = draft.pen(name)
            pen.write(data)
            draft.keep(name, pen, modified_ns=17)
        return draft.seal(steps=41, buffers=[3])


def exported(layout: Layout, *along: TaskFile) -> bytes:
    out = io.BytesIO()
    tars.write(out, a_checkpoint(layout), along)
    return out.getvalue()


def taken(layout: Layout, data: bytes, **wishes: Any) -> Any:
    owner = tars.owner_of(layout, SECOND)
    return tars.take(io.BytesIO(data), owner, Order(3, 2), **wishes)


def a_tar(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def a_manifest(*names: str, **changes: Any) -> bytes:
    """A manifest that verifies, of files that are all empty."""
    empty = hashlib.sha256(b"").hexdigest()
    return encoded(
        {
            "format": 1,
            "task": FIRST,
            "replica": 0,
            "attempt": 1,
            "sequence": 1,
            "kind": "call",
            "saved_at": 5.0,
            "files": [{"name": name, "bytes": 0, "sha256": empty} for name in names],
            **changes,
        }
    )


def test_what_goes_out_comes_in_as_another_tasks(layout: Layout) -> None:
    made = taken(layout, exported(layout))
    assert (made.order, made.size_bytes) == ((3, 2), len(STATE))
    found, notes = tars.newest_whole(tars.owner_of(layout, SECOND))
    assert found is not None
    assert (found.order, notes) == ((3, 2), [])
    assert Path(found.path, "state.pickle").read_bytes() == STATE
    assert found.manifest["task"] == SECOND
    assert (found.manifest["steps"], found.manifest["buffers"]) == (41, [3])
    assert found.manifest["files"][0]["modified_ns"] == 17


def test_it_still_says_when_it_was_saved(layout: Layout) -> None:
    data = exported(layout)
    whole, _ = tars.newest_whole(tars.owner_of(layout, FIRST))
    assert whole is not None
    assert taken(layout, data).saved_at == whole.saved_at


def test_what_goes_along_comes_along_only_where_it_is_wanted(
    layout: Layout, tmp_path: Path
) -> None:
    along = [
        TaskFile("fold.task", b"SPOOLMW-TASK 1\n"),
        TaskFile("fold.task.in/bin/fold", b"#!/bin/sh\n", executable=True),
    ]
    data = exported(layout, *along)
    folder = tmp_path / "along"
    folder.mkdir()
    taken(layout, data, tasks=folder)
    assert (folder / "fold.task").read_bytes() == b"SPOOLMW-TASK 1\n"
    assert (folder / "fold.task.in/bin/fold").stat().st_mode & 0o100
    assert not (folder / "fold.task").stat().st_mode & 0o100


def test_the_newest_that_verifies_is_exported_and_nothing_is_changed(layout: Layout) -> None:
    a_checkpoint(layout, 1)
    newest = a_checkpoint(layout, 2)
    Path(newest.path, "state.pickle").write_bytes(STATE[:-1])
    found, notes = tars.newest_whole(tars.owner_of(layout, FIRST))
    assert found is not None
    assert found.order == (1, 1)
    [note] = notes
    assert "1-2 is damaged" in note
    assert Path(newest.path).exists()


def test_those_that_do_not_count_any_more_are_not_exported(layout: Layout) -> None:
    a_checkpoint(layout)
    assert tars.newest_whole(tars.owner_of(layout, FIRST), since=2) == (None, [])


def flipped(data: bytes) -> bytes:
    place = data.index(b"the state")
    return data[:place] + b"X" + data[place + 1 :]


def with_another_digest(data: bytes) -> bytes:
    return data.replace(b'"attempt":1', b'"attempt":2')


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (flipped, "cut short or changed"),
        (with_another_digest, "MANIFEST was cut short or changed"),
        (lambda data: data[:3000], "tar"),
        (lambda _: b"", "tar"),
        (lambda _: b"no tar at all" * 100, "tar"),
    ],
)
def test_a_damaged_file_is_refused_and_nothing_appears(
    layout: Layout, change: Callable[[bytes], bytes], why: str
) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        taken(layout, change(exported(layout)))
    assert why in f"{caught.value.what} {caught.value.why}"
    folder = layout.checkpoints / SECOND / "0"
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("checkpoint/a", b"")], "stands before its MANIFEST"),
        ([("../../etc/passwd", b"")], "stands before its MANIFEST"),
        ([("checkpoint/MANIFEST", b"{}")], "MANIFEST was cut short or changed"),
        ([("checkpoint/MANIFEST", a_manifest("a"))], "it has no checkpoint/a"),
        (
            [("checkpoint/MANIFEST", a_manifest()), ("checkpoint/b", b"")],
            "is not in its MANIFEST",
        ),
        (
            [("checkpoint/MANIFEST", a_manifest("a")), ("/checkpoint/a", b"")],
            "is not in its MANIFEST",
        ),
        (
            [("checkpoint/MANIFEST", a_manifest("a")), *[("checkpoint/a", b"")] * 2],
            "there twice",
        ),
        ([("checkpoint/MANIFEST", a_manifest("../a"))], "lacks names"),
        ([("checkpoint/MANIFEST", a_manifest("/etc/passwd"))], "lacks names"),
        ([("checkpoint/MANIFEST", a_manifest("a", "a"))], "names a file twice"),
        ([("checkpoint/MANIFEST", a_manifest("MANIFEST"))], "or itself"),
        ([("checkpoint/MANIFEST", a_manifest(format=2))], "format 2"),
        ([("checkpoint/MANIFEST", a_manifest(saved_at="now"))], "when it was saved"),
    ],
)
def test_nothing_in_a_tar_is_believed(
    layout: Layout, members: list[tuple[str, bytes]], why: str
) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        taken(layout, a_tar(*members))
    assert why in caught.value.why


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", ""])
def test_a_task_in_a_tar_cannot_be_put_elsewhere(
    layout: Layout, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "along"
    folder.mkdir()
    data = a_tar((f"task/{name}", b"evil"), ("checkpoint/MANIFEST", a_manifest()))
    with pytest.raises(BadCheckpoint):
        taken(layout, data, tasks=folder)
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_only_plain_files_are_taken(layout: Layout, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("checkpoint/MANIFEST")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(BadCheckpoint, match="not taken") as caught:
        taken(layout, out.getvalue())
    assert "no plain file" in caught.value.why


def test_a_commands_checkpoint_is_not_given_to_a_call(layout: Layout) -> None:
    with pytest.raises(BadCheckpoint, match="is one of a call"):
        taken(layout, exported(layout), kind="command")


def test_the_manifest_comes_first_so_that_it_can_be_looked_at(layout: Layout) -> None:
    with tarfile.open(fileobj=io.BytesIO(exported(layout))) as tar:
        assert tar.getnames()[0] == "checkpoint/MANIFEST"
        file = tar.extractfile("checkpoint/MANIFEST")
        assert file is not None
        assert json.loads(file.read())["task"] == FIRST
