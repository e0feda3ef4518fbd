from __future__ import annotations

import contextlib
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolmw.runner import onefile

MOST = 1 << 40


def a_parcel(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    found = (each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}


def a_file(path: Path, head: object, rest: bytes = b"") -> str:
    line = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(line + b"\n" + rest)
    return str(path)


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    files = {f"files__{number}": os.urandom(number) for number in range(12)}
    parcel = a_parcel(tmp_path / "out", report_json=b"{}", result=b"", log=b"x\n", **files)
    target = tmp_path / "one"
    assert onefile.pack(str(parcel), str(target)) == target.stat().st_size
    (tmp_path / "back").mkdir()
    listed = onefile.unpack(str(target), str(tmp_path / "back"), target.stat().st_size)
    assert contents(tmp_path / "back") == contents(parcel)
    assert [name for name, _ in listed][:3] == ["log", "result", "report.json"]
    assert [name for name, _ in listed][3:] == [f"files/{number}" for number in range(12)]


def test_only_what_belongs_to_a_parcel_is_packed(tmp_path: Path) -> None:
    parcel = a_parcel(tmp_path / "out", trouble_json=b"{}", core=b"x")
    (parcel / "log").symlink_to("/etc/passwd")
    target = tmp_path / "one"
    onefile.pack(str(parcel), str(target))
    assert target.read_bytes() == b'{"format":1,"files":[["trouble.json",2]]}\n{}'


def test_large_files_are_never_in_memory(tmp_path: Path) -> None:
    parcel = a_parcel(tmp_path / "out")
    with open(parcel / "result", "wb") as file:
        file.truncate(100_000_000)
    (tmp_path / "back").mkdir()
    tracemalloc.start()
    try:
        onefile.pack(str(parcel), str(tmp_path / "one"))
        onefile.unpack(str(tmp_path / "one"), str(tmp_path / "back"), MOST)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert (tmp_path / "back" / "result").stat().st_size == 100_000_000


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "/x", "x", "", ".", "files", "files/", "files/a", "files/01", "files/-1"),
        *("files/0/x", "files/../log", "log\n", "report.json\0", "files/٣", "files/9999999999"),
        *(7, None, ["log"]),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, name: object) -> None:
    source = a_file(tmp_path / "one", {"format": 1, "files": [[name, 1]]}, b"x")
    (tmp_path / "back").mkdir()
    with pytest.raises(ValueError, match="no name"):
        onefile.unpack(source, str(tmp_path / "back"), MOST)
    assert not contents(tmp_path / "back")


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"format":1}'),
        *({"format": 2, "files": []}, {"format": True, "files": []}),
        {"format": 1, "files": {}},
        *({"format": 1, "files": [each]} for each in ([], ["log"], 1, ["log", 1, 2])),
        *({"format": 1, "files": [["log", each]]} for each in (-1, 1.0, True, "1", None)),
        {"format": 1, "files": [["log", 1], ["log", 1]]},
        {"format": 1, "files": [["log", 3]]},
        {"format": 1, "files": [["log", 1]]},
        {"format": 1, "files": [["log", 10**30]]},
        {"format": 1, "files": [["log", 0]] * 200_000},
    ],
)
def test_what_pack_does_not_make_is_refused(tmp_path: Path, head: object) -> None:
    source = a_file(tmp_path / "one", head, b"xx")
    (tmp_path / "back").mkdir()
    with pytest.raises(ValueError):  # noqa: PT011  which words it uses is its own matter
        onefile.unpack(source, str(tmp_path / "back"), MOST)
    assert not contents(tmp_path / "back")


def test_more_than_may_come_is_refused_before_it_is_read(tmp_path: Path) -> None:
    source = a_file(tmp_path / "one", {"format": 1, "files": [["log", 2]]}, b"xx")
    (tmp_path / "back").mkdir()
    size = os.stat(source).st_size
    with pytest.raises(ValueError, match="at most"):
        onefile.unpack(source, str(tmp_path / "back"), size - 1)
    onefile.unpack(source, str(tmp_path / "back"), size)


def test_nothing_that_lies_there_already_is_written_through(tmp_path: Path) -> None:
    source = a_file(tmp_path / "one", {"format": 1, "files": [["log", 2]]}, b"xx")
    back = tmp_path / "back"
    back.mkdir()
    (back / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="exists"):
        onefile.unpack(source, str(back), MOST)
    assert not (tmp_path / "victim").exists()


@given(data=st.binary(max_size=200), at=st.integers(0, 60), cut=st.integers(0, 3))
def test_bytes_of_anybody_are_taken_or_refused_and_never_lead_out(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    whole = b'{"format":1,"files":[["log",2],["files/0",1]]}\nxxy'
    path = folder / "one"
    path.write_bytes(whole[:at] + data + whole[at + cut :])
    (folder / "back").mkdir()
    with contextlib.suppress(ValueError):
        onefile.unpack(str(path), str(folder / "back"), MOST)
    left = {str(each.relative_to(folder / "back")) for each in (folder / "back").rglob("*")}
    assert all(each == "files" or onefile._NAME.fullmatch(each) for each in left)
    assert {each.name for each in folder.iterdir()} == {"one", "back"}
