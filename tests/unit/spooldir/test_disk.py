"""Room on the disk, the ballast, and where the spool is when nobody says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolmw.spooldir import where
from spoolmw.spooldir.disk import Ballast, free_bytes, free_inodes
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.where import default_spool


def test_the_disk_has_room(layout: Layout) -> None:
    assert free_bytes(layout.root) > 0
    assert free_inodes(layout.root) > 0


def test_the_ballast_takes_room_and_gives_it_back(layout: Layout) -> None:
    ballast = Ballast(layout, size_bytes=1 << 20)
    ballast.fill()
    ballast.fill()
    assert layout.ballast.stat().st_blocks * 512 >= 1 << 20
    assert ballast.release() == 1 << 20
    assert ballast.release() == 0
    assert not layout.ballast.exists()


def test_the_ballast_leaves_most_of_the_room(layout: Layout) -> None:
    ballast = Ballast(layout, size_bytes=1 << 60)
    ballast._size = min(ballast._size, 40 << 20)
    ballast.fill()
    assert ballast.size_bytes <= max(40 << 20, free_bytes(layout.root) // 19)
    ballast.release()


def test_the_spool_is_the_one_named_else_the_systems_else_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPOOLMW_SPOOL", raising=False)
    monkeypatch.setattr(where, "SYSTEM_SPOOL", tmp_path / "system")
    assert default_spool() == tmp_path / "spool"
    (tmp_path / "system").mkdir()
    assert default_spool() == tmp_path / "system"
    monkeypatch.setenv("SPOOLMW_SPOOL", "mine")
    assert default_spool() == tmp_path / "mine"
