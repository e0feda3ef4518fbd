"""Which files travel with an attempt."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from spoolmw.runner import outputs


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a.csv", "*.csv", True),
        ("d/a.csv", "*.csv", False),
        ("d/a.csv", "d/*.csv", True),
        ("d/a.csv", "*/*.csv", True),
        ("a.csv", "**/*.csv", True),
        ("d/e/a.csv", "**/*.csv", True),
        ("d/e/a.csv", "d/**", True),
        ("state.1", "state.?", True),
        ("State.1", "state.?", False),
        ("out/x", "out", False),
    ],
)
def test_a_star_stays_in_its_folder(name: str, pattern: str, fits: bool) -> None:
    assert outputs.matches(name, pattern) is fits


def test_emptying_a_folder_follows_no_link(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "kept").touch()
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "sub").mkdir()
    (folder / "sub" / "file").touch()
    (folder / "sub").chmod(0)
    outputs.empty(str(folder))
    assert list(folder.iterdir()) == []
    assert (outside / "kept").exists()


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    outputs.remove(str(tmp_path / "nothing"))


def test_inputs_are_copies_with_their_mode(tmp_path: Path) -> None:
    store, scratch = tmp_path / "store", tmp_path / "scratch"
    store.mkdir()
    scratch.mkdir()
    (store / "abc").write_bytes(b"x" * 100_000)
    (store / "abc").chmod(0o400)
    given = [{"name": "d/tool", "sha256": "abc", "bytes": 1, "executable": True}]
    outputs.bring(given, str(store), str(scratch))
    assert (scratch / "d" / "tool").read_bytes() == b"x" * 100_000
    assert os.access(scratch / "d" / "tool", os.X_OK | os.W_OK)
    assert (store / "abc").stat().st_nlink == 1


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    given = [{"name": "data", "sha256": "abc", "bytes": 1, "executable": False}]
    with pytest.raises(FileNotFoundError, match="data"):
        outputs.bring(given, str(tmp_path), str(tmp_path))


def test_a_file_that_nobody_may_read_is_made_readable(tmp_path: Path) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    (scratch / "secret").write_bytes(b"x")
    (scratch / "secret").chmod(0)
    kept = outputs.collect(str(scratch), str(folder), [], [])
    assert [each["name"] for each in kept.files] == ["secret"]
    assert kept.files[0]["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert (folder / "secret").stat().st_mode & 0o400


def test_pipes_and_links_are_not_taken(tmp_path: Path) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    os.mkfifo(scratch / "pipe")
    (scratch / "link").symlink_to("/etc/passwd")
    assert outputs.collect(str(scratch), str(folder), ["*"], []).files == []
