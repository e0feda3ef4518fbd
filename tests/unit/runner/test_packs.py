"""Small files that lie together: each is read as itself, and the file goes with the last of them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from spoolmw.runner import reading
from spoolmw.runner.hostfolder import HostFolder
from spoolmw.runner.packs import Packs

TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f1"


def a_place(number: int) -> str:
    return f"active/1{number}/{TASK}{number}~~t.task"


def a_task(name: str, body: bytes = b"the body") -> bytes:
    header = {"name": name, "body": {"codec": "pickle", "bytes": len(body)}}
    return reading.MAGIC + json.dumps(header).encode() + b"\n" + body


@pytest.fixture
def folder(tmp_path: Path) -> HostFolder:
    made = HostFolder(str(tmp_path))
    made.make_tree()
    return made


def listed(folder: HostFolder) -> list[str]:
    return sorted(os.listdir(folder.path("packs")))


def read(folder: HostFolder, packs: Packs, place: str) -> tuple[str, bytes]:
    task = reading.read(folder.path(packs.path_of(place)))
    return task.header["name"], bytes(task.body)


def test_each_is_read_as_itself(folder: HostFolder) -> None:
    packs = Packs(folder)
    bodies = [b"", b"one", bytes(60_000), b"\x1f\n" * 9]
    packs.add([(a_place(n), a_task(str(n), body)) for n, body in enumerate(bodies)])
    for n, body in enumerate(bodies):
        assert read(folder, packs, a_place(n)) == (str(n), body)
        path = folder.path(packs.path_of(a_place(n)))
        assert reading.read_header(path)["name"] == str(n)
    assert listed(folder) == ["1"]
    assert os.listdir(folder.path("active")) == []


def test_a_pack_goes_with_the_last_that_needs_it(folder: HostFolder) -> None:
    packs = Packs(folder)
    packs.add([(a_place(n), a_task(str(n))) for n in range(3)])
    packs.add([(a_place(5), a_task("5"))])
    for n in (0, 2):
        packs.remove(a_place(n))
    assert listed(folder) == ["1", "2"]
    packs.remove(a_place(1))
    assert listed(folder) == ["2"]
    assert list(packs) == [a_place(5)]


def test_what_is_put_again_leaves_the_old_one_to_who_has_it(folder: HostFolder) -> None:
    packs = Packs(folder)
    packs.add([(a_place(0), a_task("old"))])
    old = folder.path(packs.path_of(a_place(0)))
    packs.add([(a_place(0), a_task("new"))])
    assert reading.read(old).header["name"] == "old"
    assert read(folder, packs, a_place(0))[0] == "new"
    packs.remove(a_place(0))
    assert listed(folder) == []


def test_it_can_become_a_file_of_its_own(folder: HostFolder) -> None:
    packs = Packs(folder)
    packs.add([(a_place(0), a_task("0")), (a_place(1), a_task("1"))])
    packs.unpack(a_place(0))
    assert packs.path_of(a_place(0)) == a_place(0)
    assert read(folder, packs, a_place(0)) == ("0", b"the body")
    packs.add([(a_place(0), a_task("again"))])
    packs.remove(a_place(0))
    assert not Path(folder.path(a_place(0))).exists()
    assert listed(folder) == ["1"], "the other one needs it"


def test_a_file_that_was_never_packed_is_removed_too(folder: HostFolder) -> None:
    packs = Packs(folder)
    path = Path(folder.path(a_place(0)))
    path.parent.mkdir()
    path.touch()
    packs.is_file(a_place(0))
    packs.remove(a_place(0))
    assert not path.exists()
    packs.remove(a_place(0))


def test_on_a_full_disk_nothing_is_there(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    packs = Packs(folder)
    with monkeypatch.context() as during:
        during.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            packs.add([(a_place(0), a_task("0"))])
    assert listed(folder) == []
    assert a_place(0) not in packs
