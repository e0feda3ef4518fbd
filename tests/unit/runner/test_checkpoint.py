"""Checkpoints on disk: whole or absent, and nothing damaged or foreign is ever used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import spoolmw
from spoolmw.runner import checkpoint
from spoolmw.runner.checkpoint import Checkpoint, Damaged, Draft, Owner

TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(str(tmp_path / "checkpoints"), TASK, 0)


def saved(owner: Owner, attempt: int, sequence: int, text: str = "state") -> Checkpoint:
    """A checkpoint of a call, with one file."""
    with Draft(owner, (attempt, sequence), "call") as draft:
        pen = draft.pen("data")
        pen.write(text.encode())
        draft.keep("data", pen)
        return draft.seal(steps=3)


def found(owner: Owner, since: int = 0) -> tuple[str, list[str]]:
    """The name of the newest whole one, and the notes."""
    newest, notes = checkpoint.newest(owner, "call", since)
    return newest.name if newest else "", notes


def test_a_checkpoint_is_a_folder_of_files_and_a_manifest(owner: Owner) -> None:
    made = saved(owner, 2, 7)
    assert sorted(os.listdir(made.path)) == ["MANIFEST", "data"]
    assert made.path == f"{owner.folder}/2-7"
    manifest = json.loads(Path(made.path, "MANIFEST").read_text())
    assert manifest["format"] == 1
    assert (manifest["task"], manifest["replica"]) == (TASK, 0)
    assert (manifest["attempt"], manifest["sequence"], manifest["kind"]) == (2, 7, "call")
    assert [each["name"] for each in manifest["files"]] == ["data"]
    assert (manifest["spoolmw"], manifest["steps"]) == (spoolmw.__version__, 3)
    assert made.size_bytes == 5
    assert checkpoint.verify(made.path, owner) == made


def test_the_newest_is_the_one_of_the_latest_attempt(owner: Owner) -> None:
    for order in [(1, 1), (1, 12), (2, 1), (1, 9)]:
        saved(owner, *order)
    assert found(owner) == ("2-1", [])
    assert checkpoint.orders(owner) == [(2, 1), (1, 12), (1, 9), (1, 1)]


def test_where_nothing_was_saved_there_is_none(owner: Owner) -> None:
    assert found(owner) == ("", [])


def test_checkpoints_before_a_fresh_start_do_not_count(owner: Owner) -> None:
    saved(owner, 1, 1)
    assert found(owner, since=2) == ("", [])
    saved(owner, 2, 1)
    assert found(owner, since=2) == ("2-1", [])


def test_a_half_written_one_counts_for_nothing_and_is_cleaned_up(owner: Owner) -> None:
    draft = Draft(owner, (1, 1), "call")
    draft.pen("data").write(b"half")
    assert os.listdir(owner.folder) == [".1-1.tmp"]
    assert found(owner) == ("", [])
    checkpoint.clean(owner)
    assert os.listdir(owner.folder) == []


def test_a_save_that_fails_leaves_nothing(owner: Owner) -> None:
    def fails() -> None:
        with Draft(owner, (1, 1), "call") as draft:
            draft.pen("data").write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fails()
    assert os.listdir(owner.folder) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "bytes instead of"),
    "flipped": (flip, "another digest"),
    "gone": (Path.unlink, "cannot be read"),
    "a link": (link, "is no file"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_data_is_noted_and_the_older_one_is_used(owner: Owner, how: str) -> None:
    saved(owner, 1, 1)
    damage, says = DAMAGE[how]
    damage(Path(saved(owner, 1, 2).path, "data"))
    name, [note] = found(owner)
    assert name == "1-1"
    assert note.startswith("checkpoint 1-2 is damaged: data ")
    assert says in note
    assert sorted(os.listdir(owner.folder)) == [".1-2.damaged", "1-1"], "it is set aside"
    assert found(owner) == ("1-1", [])


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink, link])
def test_a_damaged_manifest_is_found_out(
    owner: Owner, damage: Callable[[Path], object]
) -> None:
    damage(Path(saved(owner, 1, 1).path, "MANIFEST"))
    name, [note] = found(owner)
    assert name == ""
    assert "its MANIFEST" in note


def test_every_flipped_bit_of_a_manifest_is_found_out(owner: Owner) -> None:
    path = Path(saved(owner, 1, 1).path)
    whole = (path / "MANIFEST").read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        (path / "MANIFEST").write_bytes(data)
        with pytest.raises(Damaged):
            checkpoint.verify(str(path), owner)
    (path / "MANIFEST").write_bytes(whole)
    checkpoint.verify(str(path), owner)


def rewritten(path: str, **changes: object) -> None:
    """Give a checkpoint another manifest with a good digest."""
    manifest = {**checkpoint.read_manifest(path), **changes}
    Path(path, "MANIFEST").write_bytes(checkpoint.encoded(manifest))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "f" * 32}, "it belongs to task ffff"),
        ({"replica": 1}, "replica 1"),
        ({"format": 2}, "format 2, this version of spoolmw knows 1"),
        ({"sequence": 8}, "says that it is 1-8"),
        ({"files": [{"name": "../data", "bytes": 5, "sha256": ""}]}, "lacks names"),
        ({"files": [{"name": "data"}]}, "lacks names or digests"),
        ({"kind": "command"}, "one of a command"),
    ],
)
def test_a_foreign_one_is_passed_over(
    owner: Owner, change: dict[str, object], says: str
) -> None:
    rewritten(saved(owner, 1, 1).path, **change)
    name, [note] = found(owner)
    assert name == ""
    assert says in note


def test_anothers_checkpoint_under_our_name_is_found_out(owner: Owner) -> None:
    other = owner._replace(replica=1)
    saved(owner, 1, 1)
    Path(other.folder).mkdir(parents=True)
    os.rename(saved(other, 1, 2).path, f"{owner.folder}/1-2")
    assert found(owner)[0] == "1-1"


def test_a_folder_without_manifest_is_none(owner: Owner) -> None:
    Path(owner.folder, "1-1").mkdir(parents=True)
    assert found(owner)[0] == ""


def test_a_file_is_copied_with_its_time_and_its_x_bit(owner: Owner, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    os.utime(tool, ns=(1, 123_456_789))
    with Draft(owner, (1, 1), "command") as draft:
        draft.copy(str(tool), "dir/deep/tool")
        made = draft.seal()
    [told] = made.manifest["files"]
    assert (told["name"], told["bytes"]) == ("dir/deep/tool", 10)
    assert (told["executable"], told["modified_ns"]) == (True, 123_456_789)
    checkpoint.verify(made.path, owner)
