"""The short way through a plain success says the same as the strict one, or nothing."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace as Some
from typing import Any

import pytest

from spoolmw.errors import BadResultFile
from spoolmw.format.plainresult import read_plain
from spoolmw.format.resultfile import parse
from spoolmw.format.trailer import trailer_line
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from spoolmw.runner.results import Ended

ID = "0199a1b2c3d4" + "ab" * 10


def _body(tmp_path: Any, *, name: str = "f", out: str = "") -> bytes:
    ended = Ended()
    ended.codec, ended.value, ended.stdout_tail = "safe", [b"null"], out
    results.write(str(tmp_path / "staged"), name, f"{ID}.0.1", ended)
    return bytes((tmp_path / "staged").read_bytes())


def _whole(body: bytes, *, message: str = "", trusted: bool = True) -> bytes:
    said: Any = lambda word: Some(_value_=word)  # noqa: E731
    ran = Some(
        attempt=1, agent="local", host="h", slot="local-1", outcome=said("success"),
        cause=said("finished"), blame=said(""), message="", exit_code=None, trusted=True,
        started_at=1.7e9, ended_at=1.7e9 + 0.25, cpu_s=0.01, memory_bytes=4096,
    )  # fmt: skip
    ending = Some(
        state=TaskState.DONE, cause=said("finished"), blame=said(""), message=message,
        digest=hashlib.sha256(body).hexdigest(), copy_of="", staged="x", trusted=trusted,
    )  # fmt: skip
    task: Any = Some(
        id=ID, spec=Some(name="f", key=""), box="", result_name="results/f.result",
        ending=ending, submitted_at=1.7e9, history=[ran], ballot=None,
    )  # fmt: skip
    return body + b"\n" + trailer_line(task)


def test_what_we_write_ourselves_takes_the_short_way(tmp_path: Any) -> None:
    data = _whole(_body(tmp_path))
    plain, strict = read_plain(data), parse(data, "x")
    assert plain is not None
    assert strict.trailer is not None
    assert plain.owner == strict.trailer["id"] == ID
    assert plain.codec == strict.header["codec"]
    assert plain.value == strict.value == b"null"
    assert strict.trailer["state"] == "done"


@pytest.mark.parametrize("text", ["a\nb", 'say "so"', "back\\slash", "größer"])
def test_what_is_escaped_is_left_to_the_strict_way(tmp_path: Any, text: str) -> None:
    assert read_plain(_whole(_body(tmp_path, out=text))) is None
    assert read_plain(_whole(_body(tmp_path), message=text)) is None


def test_a_changed_byte_is_never_taken_for_more_than_the_strict_way_takes(
    tmp_path: Any,
) -> None:
    data = _whole(_body(tmp_path))
    for at in range(len(data)):
        for wrong in (data[at] ^ 1, data[at] ^ 0x20, 0, 0xFF):
            changed = data[:at] + bytes([wrong]) + data[at + 1 :]
            plain = read_plain(changed)
            if plain is not None:
                strict = parse(changed, "x")
                assert strict.trailer is not None
                assert (plain.owner, "done") == (strict.trailer["id"], strict.trailer["state"])


@pytest.mark.parametrize("cut", [1, 2, 100, 400])
def test_what_is_cut_short_is_left_to_the_strict_way(tmp_path: Any, cut: int) -> None:
    data = _whole(_body(tmp_path))[:-cut]
    assert read_plain(data) is None
    with pytest.raises(BadResultFile):
        parse(data, "x")
    assert read_plain(_whole(_body(tmp_path)) + b" ") is None
    assert read_plain(b"") is None


def test_a_report_written_by_hand_reads_as_one_of_the_encoder() -> None:
    ended = Ended()
    ended.cpu_s, ended.memory_bytes = 1e-06, 4096
    report = results.report(f"{ID}.0.1", "t", ended, (1.7e9, 1.7e9 + 0.1))
    report.update(slot='ho"st-1', body_bytes=3, digest="00")
    assert json.loads(results.encoded(report)) == report
    report["exit_code"] = 0
    assert json.loads(results.encoded(report)) == report


def test_what_no_trusted_host_wrote_says_so_and_takes_the_strict_way(tmp_path: Any) -> None:
    data = _whole(_body(tmp_path), trusted=False)
    assert read_plain(data) is None
    strict = parse(data, "x")
    assert strict.trailer is not None
    assert strict.trailer["trusted"] is False
