"""The body of an array of calls, and an array's file that is read once for many elements."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from spoolmw.runner import calls, elements, order, reading
from spoolmw.runner.order import Element


def a_body(number: int = 5) -> bytes:
    writer = calls.Writer(b"function")
    for each in range(number):
        writer.add(b"args" * each)
    assert len(writer) == number
    return writer.body()


def opened(path: Path, body: bytes, *, sha256: str = "") -> calls.Calls:
    path.write_bytes(b"head" + body)
    digest = sha256 or hashlib.sha256(body).hexdigest()
    return calls.Calls(os.open(path, os.O_RDONLY), 4, len(body), digest)


def test_each_element_finds_the_function_and_its_own_arguments(tmp_path: Path) -> None:
    found = opened(tmp_path / "a", a_body())
    assert [found.item(each) for each in range(5)] == [
        (b"function", b"args" * each) for each in range(5)
    ]
    with pytest.raises(calls.Damaged, match="5 calls, this is element 6"):
        found.item(5)
    found.close()


def test_large_arguments_come_whole(tmp_path: Path) -> None:
    writer = calls.Writer(b"f")
    large = os.urandom(3_000_000)
    writer.add(large)
    assert opened(tmp_path / "a", writer.body()).item(0).args == large


def test_a_body_that_was_changed_is_recognised(tmp_path: Path) -> None:
    body = a_body()
    with pytest.raises(calls.Damaged, match="another digest"):
        opened(tmp_path / "a", body, sha256="0" * 64)
    path = tmp_path / "b"
    path.write_bytes(body)
    with pytest.raises(calls.Damaged, match="shorter"):
        calls.Calls(os.open(path, os.O_RDONLY), 4, len(body), "")


@pytest.mark.parametrize("number", [2**63, 10**6, 6])
def test_a_table_that_cannot_be_is_recognised(tmp_path: Path, number: int) -> None:
    body = a_body()[:-8] + number.to_bytes(8, "little")
    with pytest.raises(calls.Damaged, match=r"table|outside"):
        opened(tmp_path / "a", body).item(0)


def a_file(path: Path, header: dict[str, object], body: bytes = b"", codec: str = "") -> str:
    if body:
        digest = hashlib.sha256(body).hexdigest()
        header = {**header, "body": {"codec": codec, "bytes": len(body), "sha256": digest}}
    path.write_bytes(reading.MAGIC + json.dumps(header).encode() + b"\n" + body)
    return str(path)


def test_words_are_filled_in_for_each_element(tmp_path: Path) -> None:
    header: dict[str, object] = {
        "name": "{index}",
        "run": {"command": ["x", "{index}", "{line}"], "env": {"A": "{{{index}}}"}},
        "files": {"outputs": ["{index}.csv"], "inputs": [{"name": "{index}"}]},
    }
    path = a_file(tmp_path / "a", header)
    source = elements.Source()
    for index in (1, 2):
        found = source.task(path, Element(index - 1, index, f"line {index}")).header
        assert found["run"] == {
            "command": ["x", str(index), f"line {index}"],
            "env": {"A": f"{{{index}}}"},
        }
        assert found["files"]["outputs"] == [f"{index}.csv"]
        assert found["files"]["inputs"] == [{"name": "{index}"}]
        assert found["name"] == "{index}"


def test_a_file_is_read_once_for_all_its_elements(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a", {"name": "a"}, b"body", "pickle")
    source = elements.Source()
    assert source.task(path, Element(0, 1)).body == b"body"
    Path(path).unlink()
    assert source.task(path, Element(1, 2)).body == b"body"
    other = a_file(tmp_path / "b", {"name": "b"}, a_body(), "calls")
    assert source.task(other, Element(2, 3)) == (
        {"name": "b", **_body(other)},
        b"argsargs",
        b"function",
    )
    with pytest.raises(FileNotFoundError):
        source.task(path, Element(0, 1))


def _body(path: str) -> dict[str, object]:
    return {"body": reading.read_header(path)["body"]}


def test_a_damaged_array_says_so_to_each_element(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a", {"name": "b"}, a_body(), "calls")
    Path(path).write_bytes(Path(path).read_bytes()[:-1] + b"\x01")
    source = elements.Source()
    for position in (0, 1):
        with pytest.raises(reading.Damaged, match="digest"):
            source.task(path, Element(position, 0))


@pytest.mark.parametrize("line", [None, "", "a line\twith {braces} é"])
def test_an_order_carries_its_element(line: str | None) -> None:
    packet = order.lines("a" * 32 + ".0.1", "token", "active/xx/a b", Element(3, 17, line))
    for extra in ("", '\n{"cpus": 2}'):
        told = order.parse((packet + extra).encode())
        assert told.path == "active/xx/a b"
        assert told.element is not None
        found = (told.element.position, told.element.index, told.element.line)
        assert found == (3, 17, line)
        assert told.cpus == (2 if extra else 1)
    plain = order.parse(order.lines("a.0.1", "token", "path").encode())
    assert (plain.path, plain.element) == ("path", None)


def test_an_element_is_called_after_its_index() -> None:
    assert order.name_of({"name": "sweep"}, Element(0, 17)) == "sweep.17"
    assert order.name_of({"name": "sweep"}, None) == "sweep"
    assert order.name_of({}, None) == ""
