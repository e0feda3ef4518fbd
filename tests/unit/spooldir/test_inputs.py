"""Input files are taken once per content, safely, and again after a crash with the same result."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.model.spec import Input
from spoolmw.spooldir.inputs import take
from spoolmw.spooldir.layout import Layout


@pytest.fixture
def folder(layout: Layout) -> Path:
    """A claimed folder of inputs."""
    made = layout.tmp / "id.in"
    (made / "sub").mkdir(parents=True)
    (made / "data.txt").write_bytes(b"numbers")
    (made / "sub" / "fold").write_bytes(b"#!/bin/sh\n")
    (made / "sub" / "fold").chmod(0o755)
    return made


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_everything_in_the_folder_is_taken_by_content(layout: Layout, folder: Path) -> None:
    assert take(layout, folder) == (
        Input("data.txt", sha(b"numbers"), 7, executable=False),
        Input("sub/fold", sha(b"#!/bin/sh\n"), 10, executable=True),
    )
    stored = layout.inputs / sha(b"numbers")
    assert stored.read_bytes() == b"numbers"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o400


def test_the_same_content_is_stored_once(layout: Layout, folder: Path) -> None:
    (folder / "again.txt").write_bytes(b"numbers")
    digests = [item.digest for item in take(layout, folder)]
    assert len(digests) == 3
    assert len(os.listdir(layout.inputs)) == 2


def test_taking_again_after_a_crash_gives_the_same(layout: Layout, folder: Path) -> None:
    first = take(layout, folder)
    assert take(layout, folder) == first
    assert [name for name in os.listdir(layout.tmp) if name.endswith(".part")] == []


def test_a_missing_folder_is_an_empty_one(layout: Layout) -> None:
    assert take(layout, layout.tmp / "none.in") == ()


def test_a_named_input_must_be_there(layout: Layout, folder: Path) -> None:
    assert len(take(layout, folder, ["data.txt", "sub"])) == 2
    with pytest.raises(BadTaskFile, match=r"other\.txt is missing"):
        take(layout, folder, ["other.txt"])


def test_the_folder_of_a_missing_input_is_called_as_its_owner_calls_it(
    layout: Layout, folder: Path
) -> None:
    with pytest.raises(BadTaskFile, match=r"it is not in the folder a\.toml\.in") as told:
        take(layout, folder, ["other.txt"], called="a.toml.in")
    assert "into the folder a.toml.in beside" in told.value.fix


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "big").write_bytes(b"big")
    return data


def test_an_allowed_path_outside_is_copied(layout: Layout, outside: Path) -> None:
    big = outside / "big"
    os.link(big, outside / "second name")
    found = take(
        layout, layout.tmp / "x", [str(big)], allow_path=lambda path: outside in path.parents
    )
    assert found == (Input("big", sha(b"big"), 3, executable=False),)
    big.write_bytes(b"changed")
    assert (layout.inputs / sha(b"big")).read_bytes() == b"big"


def test_a_link_out_of_the_allowed_paths_is_refused(
    layout: Layout, outside: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (outside / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BadTaskFile, match="may not be read"):
        take(
            layout,
            layout.tmp / "x",
            [str(outside / "link")],
            allow_path=lambda path: outside in path.parents,
        )


def test_nothing_outside_is_allowed_by_default(layout: Layout, folder: Path) -> None:
    with pytest.raises(BadTaskFile, match="may not be read"):
        take(layout, folder, ["/etc/passwd"])


def test_two_inputs_of_one_name_are_refused(
    layout: Layout, folder: Path, outside: Path
) -> None:
    (outside / "data.txt").write_text("other")
    with pytest.raises(BadTaskFile, match=r"two input files are called data\.txt"):
        take(layout, folder, [str(outside / "data.txt")], allow_path=lambda path: True)


@pytest.mark.parametrize("odd", ["link", "link to a folder", "pipe", "hard link"])
def test_what_is_no_file_of_its_own_is_refused(
    layout: Layout, folder: Path, tmp_path: Path, odd: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    path = folder / "odd"
    match odd:
        case "link":
            path.symlink_to(tmp_path / "secret")
        case "link to a folder":
            path.symlink_to("/etc")
        case "pipe":
            os.mkfifo(path)
        case _:
            os.link(tmp_path / "secret", path)
    with pytest.raises(BadTaskFile, match="odd"):
        take(layout, folder)
    assert sha(b"secret") not in os.listdir(layout.inputs)
    assert [name for name in os.listdir(layout.tmp) if name.endswith(".part")] == []


def test_a_link_in_place_of_the_folder_is_refused(layout: Layout, tmp_path: Path) -> None:
    (layout.tmp / "id.in").symlink_to("/etc")
    with pytest.raises(BadTaskFile):
        take(layout, layout.tmp / "id.in")


def test_names_with_control_characters_are_refused(layout: Layout, folder: Path) -> None:
    (folder / "a\nb").write_text("")
    with pytest.raises(BadTaskFile) as caught:
        take(layout, folder)
    assert caught.value.what.isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_files_of_another_user_are_copied_so_that_he_cannot_change_them(
    layout: Layout, folder: Path
) -> None:
    os.chown(folder / "data.txt", 12345, -1)
    with (folder / "data.txt").open("r+b") as theirs:
        take(layout, folder)
        theirs.write(b"changed")
    assert (layout.inputs / sha(b"numbers")).read_bytes() == b"numbers"
