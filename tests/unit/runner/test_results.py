"""The body of a result file is what `format` reads, whoever wrote it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spoolmw.format import resultfile
from spoolmw.runner import results

ATTEMPT = "0" * 32 + ".0.3"


def test_a_plain_success_can_be_read(tmp_path: Path) -> None:
    ended = results.Ended()
    ended.codec, ended.value = "safe", [b"[1,", b"2]"]
    path = tmp_path / "r"
    size, digest = results.write(str(path), 'a "name" ü', ATTEMPT, ended)
    assert path.stat().st_size == size
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    result = resultfile.read(path)
    assert bytes(result.value) == b"[1,2]"
    header = result.header
    assert (header["task"], header["attempt"]) == ("0" * 32, 3)
    assert header["name"] == 'a "name" ü'
    assert (header["outcome"], header["cause"]) == ("success", "finished")


def test_everything_that_can_be_told_is_told(tmp_path: Path) -> None:
    ended = results.failed("signal", "it died", exit_code=3, number=11)
    ended.exception = {"type": "T", "module": "m", "message": "x\udc80", "traceback": "t"}
    ended.files = [{"name": "stdout", "bytes": 0, "sha256": "0"}]
    ended.stdout_tail = "last\n"
    path = tmp_path / "r"
    results.write(str(path), "n", ATTEMPT, ended)
    header = resultfile.read(path).header
    assert header["message"] == "it died"
    assert (header["exit_code"], header["signal"]) == (3, 11)
    assert header["exception"]["message"] == "x?"
    assert header["files"][0]["name"] == "stdout"
    assert header["stdout_tail"] == "last\n"


def test_many_pieces_are_written_whole(tmp_path: Path) -> None:
    ended = results.Ended()
    ended.codec, ended.value = "pickle", [bytes([each % 256]) * 1000 for each in range(2000)]
    path = tmp_path / "r"
    results.write(str(path), "n", ATTEMPT, ended)
    assert bytes(resultfile.read(path).value) == b"".join(map(bytes, ended.value))


def test_an_older_file_in_its_place_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"x" * 10_000)
    size, _ = results.write(str(path), "n", ATTEMPT, results.Ended())
    assert path.stat().st_size == size


@pytest.mark.parametrize("text", ["", "short", "two\n lines"])
def test_a_message_is_one_line(text: str) -> None:
    assert results.one_line(text) == " ".join(text.split())


def test_a_long_message_keeps_both_ends() -> None:
    line = results.one_line("begin " + "x" * 10_000 + " end")
    assert len(line) <= results.MAX_MESSAGE
    assert line.startswith("begin")
    assert line.endswith("end")


def test_a_tail_is_cut_at_a_character(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("ä" * 100)
    assert results.tail(str(path), 5) == "ää"
    assert results.tail(str(tmp_path / "nothing")) == ""


def test_a_loss_that_does_not_count_says_so() -> None:
    told = results.report(ATTEMPT, "t", results.lost("launch", "x", counts=False), (0.0, 1.0))
    assert told["counts"] is False
    assert "counts" not in results.report(ATTEMPT, "t", results.lost("x", "y"), (0.0, 1.0))
