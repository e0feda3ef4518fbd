"""Files appear whole, are taken by one rename, and never replace what is not ours."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spoolmw.errors import BadResultFile
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import (
    append_trailer,
    claim,
    publish,
    rename_noreplace,
    sync_these,
    syncfs,
    write_temporary,
)


def test_a_published_file_is_whole_and_leaves_nothing_behind(layout: Layout) -> None:
    before = os.listdir(layout.tmp)
    publish(b"x" * 100_000, layout.incoming / "a.task", tmp=layout.tmp)
    assert (layout.incoming / "a.task").read_bytes() == b"x" * 100_000
    assert os.listdir(layout.tmp) == before


def test_publishing_replaces_what_stands_there(layout: Layout) -> None:
    publish(b"old", layout.incoming / "a", tmp=layout.tmp)
    publish(b"new", layout.incoming / "a", tmp=layout.tmp, sync=False)
    assert (layout.incoming / "a").read_bytes() == b"new"


def test_a_publish_that_fails_leaves_nothing(layout: Layout) -> None:
    before = os.listdir(layout.tmp)
    with pytest.raises(FileNotFoundError):
        publish(b"x", layout.incoming / "no such box" / "a", tmp=layout.tmp)
    assert os.listdir(layout.tmp) == before


def test_two_temporary_files_never_share_a_name(layout: Layout) -> None:
    assert write_temporary(b"1", layout.tmp) != write_temporary(b"2", layout.tmp)


def test_a_file_is_claimed_once(layout: Layout) -> None:
    publish(b"x", layout.incoming / "a", tmp=layout.tmp)
    assert claim(layout.incoming / "a", layout.active / "00" / "a")
    assert not claim(layout.incoming / "a", layout.active / "00" / "a")


def test_claiming_into_a_missing_folder_is_an_error_not_a_lost_race(layout: Layout) -> None:
    publish(b"x", layout.incoming / "a", tmp=layout.tmp)
    with pytest.raises(FileNotFoundError):
        claim(layout.incoming / "a", layout.active / "zz" / "a")
    assert (layout.incoming / "a").exists()


@pytest.mark.parametrize("squatter", ["file", "folder", "broken link", "link to a file"])
def test_a_name_that_somebody_took_is_not_replaced(layout: Layout, squatter: str) -> None:
    target = layout.results / "a.result"
    victim = layout.root / "victim"
    victim.write_bytes(b"precious")
    match squatter:
        case "file":
            target.write_bytes(b"theirs")
        case "folder":
            target.mkdir()
        case "broken link":
            target.symlink_to("nowhere")
        case _:
            target.symlink_to(victim)
    source = layout.stage / "x"
    source.write_bytes(b"ours")
    with pytest.raises(FileExistsError) as caught:
        rename_noreplace(source, target)
    assert caught.value.errno == errno.EEXIST
    assert source.read_bytes() == b"ours"
    assert victim.read_bytes() == b"precious"


def test_a_source_that_is_gone_is_said_to_be(layout: Layout) -> None:
    with pytest.raises(FileNotFoundError):
        rename_noreplace(layout.stage / "x", layout.results / "x")


def test_the_file_system_syncs_and_a_bad_descriptor_is_an_error(layout: Layout) -> None:
    fd = os.open(layout.root, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs(fd)


def test_files_and_folders_are_synced_alone_if_all_of_them_can_be_opened(
    layout: Layout,
) -> None:
    staged = layout.stage / "x"
    staged.write_bytes(b"body")
    assert sync_these([str(staged), str(layout.stage)])
    assert not sync_these([str(staged), str(layout.stage / "gone")])
    (layout.stage / "link").symlink_to(staged)
    assert not sync_these([str(layout.stage / "link")])


@pytest.mark.parametrize("found", [b"body", b"bodyhalf a trai", b"bodya much longer trailer\n"])
def test_a_trailer_can_be_appended_again_after_any_crash(tmp_path: Path, found: bytes) -> None:
    path = tmp_path / "staged"
    path.write_bytes(found)
    append_trailer(path, 4, b"\n{}\n")
    append_trailer(path, 4, b"\n{}\n")
    assert path.read_bytes() == b"body\n{}\n"


def test_a_body_that_was_cut_off_gets_no_trailer(tmp_path: Path) -> None:
    path = tmp_path / "staged"
    path.write_bytes(b"bo")
    with pytest.raises(BadResultFile):
        append_trailer(path, 4, b"\n{}\n")
    assert path.read_bytes() == b"bo"


def test_a_trailer_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"body")
    (tmp_path / "staged").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        append_trailer(tmp_path / "staged", 4, b"x")
    assert (tmp_path / "victim").read_bytes() == b"body"
