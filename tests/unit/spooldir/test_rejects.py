"""Refused files are kept, with the reason beside them; nothing is overwritten (threats 24, 29)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.rejects import reject, safe_name

ERROR = BadTaskFile("line 3: unknown key 'qourum'", why="it is misspelt", fix="write quorum")


def dropped(layout: Layout, name: str | bytes, data: bytes = b"bad") -> Path:
    path = layout.incoming / os.fsdecode(name)
    path.write_bytes(data)
    return path


def test_a_refused_file_has_what_why_and_fix_beside_it(layout: Layout) -> None:
    place = reject(layout, dropped(layout, "a.task"), "", "a.task", ERROR)
    assert place == layout.rejected / "a.task"
    assert place.read_bytes() == b"bad"
    assert (layout.rejected / "a.task.reason").read_text() == (
        "line 3: unknown key 'qourum'\nWhy: it is misspelt\nTo do: write quorum\n"
    )
    assert os.listdir(layout.incoming) == []


def test_boxes_are_mirrored(layout: Layout) -> None:
    place = reject(layout, dropped(layout, "a.task"), "fold", "a.task", ERROR)
    assert place == layout.rejected / "fold" / "a.task"


def test_a_name_that_is_taken_gets_a_number(layout: Layout) -> None:
    for data in (b"1", b"2", b"3"):
        reject(layout, dropped(layout, "a.task", data), "", "a.task", ERROR)
    assert (layout.rejected / "a.task").read_bytes() == b"1"
    assert (layout.rejected / "a.task.1").read_bytes() == b"2"
    assert (layout.rejected / "a.task.2").read_bytes() == b"3"
    assert (layout.rejected / "a.task.2.reason").exists()


def test_a_reason_that_a_crash_left_is_used_again(layout: Layout) -> None:
    (layout.rejected / "a.task.reason").write_text("half")
    reject(layout, dropped(layout, "a.task"), "", "a.task", ERROR)
    assert sorted(os.listdir(layout.rejected)) == ["a.task", "a.task.reason"]
    assert "qourum" in (layout.rejected / "a.task.reason").read_text()


def test_its_inputs_go_along(layout: Layout) -> None:
    inputs = layout.incoming / "a.toml.in"
    inputs.mkdir()
    (inputs / "data").write_text("1")
    reject(layout, dropped(layout, "a.toml"), "", "a.toml", ERROR, inputs=inputs)
    assert (layout.rejected / "a.toml.in" / "data").read_text() == "1"


def test_a_file_that_its_owner_took_back_is_no_error(layout: Layout) -> None:
    assert reject(layout, layout.incoming / "a.task", "", "a.task", ERROR) is None
    assert os.listdir(layout.rejected) == []


def test_a_link_is_moved_not_followed(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (layout.incoming / "a.task").symlink_to(tmp_path / "secret")
    place = reject(layout, layout.incoming / "a.task", "", "a.task", ERROR)
    assert place is not None
    assert place.is_symlink()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (b"job 1.sh", "job 1.sh"),
        ("größe.toml".encode(), "größe.toml"),
        (b"-rf", "%2Drf"),
        (b"..", "%2E."),
        (b"a\nb", "a%0Ab"),
        (b"\x1b[31m", "%1B%5B31m"),
        (b"\xff", "%FF"),
    ],
)
def test_names_are_made_harmless(name: bytes, safe: str) -> None:
    assert safe_name(os.fsdecode(name)) == safe


@pytest.mark.parametrize("name", [b"\xff" * 250, b"x" * 255, "é".encode() * 127, b"a\nb"])
def test_any_name_that_a_disk_can_hold_can_be_refused(layout: Layout, name: bytes) -> None:
    for _ in range(2):
        path = dropped(layout, name)
        place = reject(layout, path, os.fsdecode(name[:60]), os.fsdecode(name), ERROR)
        assert place is not None
        assert place.with_name(place.name + ".reason").exists()


def test_different_bad_names_stay_different() -> None:
    assert safe_name("x" * 250) != safe_name("x" * 251)
