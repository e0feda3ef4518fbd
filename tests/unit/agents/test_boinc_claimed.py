"""What a stranger's upload may hold: it is a result of our runner's, or it is lost, and nothing breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.boinclink.landing import Landed, Lander
from spoolmw.agents.carrier.book import Given
from spoolmw.runner import safe
from spoolmw.runner.results import MAGIC
from tests.support.fakework import packed

TASK = "0" * 32
ATTEMPT, TOKEN = f"{TASK}.0.1", "a" * 32
GIVEN = Given(ATTEMPT, TOKEN, "tasks/x", {})
VALUE = safe.dumps(17)
HEADER = {
    **{"task": TASK, "name": "f", "attempt": 1, "outcome": "success", "cause": "finished"},
    **{"codec": "safe", "bytes": len(VALUE), "sha256": hashlib.sha256(VALUE).hexdigest()},
    **{"stdout_tail": "", "stderr_tail": "", "python": "3.11.2", "host": "pc"},
}


@pytest.fixture
def land(tmp_path: Path) -> Callable[[bytes], Landed]:
    (tmp_path / "stage").mkdir()
    lander = Lander(tmp_path, tmp_path / "scratch", is_trusted=False)

    def land(data: bytes) -> Landed:
        upload = tmp_path / "upload"
        upload.write_bytes(data)
        landed = lander.land(GIVEN, upload, 1 << 20)
        is_there = (tmp_path / "stage" / ATTEMPT).exists()
        assert is_there == (landed.entry is not None and landed.entry["outcome"] == "success")
        assert list((tmp_path / "scratch").iterdir()) == []
        return landed

    return land


def body(value: bytes = VALUE, **changed: Any) -> bytes:
    return MAGIC + json.dumps({**HEADER, **changed}).encode() + b"\n" + value


def upload(result: bytes, files: Mapping[str, bytes] | None = None, **changed: Any) -> bytes:
    report = {
        **{"attempt": ATTEMPT, "token": TOKEN, "started": 1.0, "ended": 2.0, "cpu_s": 0.1},
        **{"memory_bytes": 1, "outcome": "success", "cause": "finished"},
        **{"body_bytes": len(result), "digest": hashlib.sha256(result).hexdigest(), **changed},
    }
    told = {
        **{"format": 1, "host": "pc", "machine": "", "python": "3.11.2"},
        **{"platform": "linux-x86_64", "report": report, "news": []},
        "log": [0, hashlib.sha256(b"").hexdigest()],
    }
    if files is not None:
        told["files"] = [[name, 0o644, len(data)] for name, data in files.items()]
        told["digests"] = [hashlib.sha256(data).hexdigest() for data in files.values()]
        told["bytes"] = sum(map(len, files.values()))
        report["files"] = True
    parts = {"report.json": json.dumps(told).encode(), "log": b"", "result": result}
    numbered = {f"files/{number}": data for number, data in enumerate((files or {}).values())}
    return packed(
        {name: data for name, data in {**parts, **numbered}.items() if data or name == "log"}
    )


def test_a_safe_value_lands(land: Callable[[bytes], Landed]) -> None:
    landed = land(upload(body()))
    assert landed.entry is not None
    assert not landed.is_hosts


ODD = {
    "a codec that is a list": body(codec=[]),
    "a codec that is an object": body(codec={}),
    "a codec that is a number": body(codec=0),
    "no codec": body(codec=None),
    "a pickle": body(codec="pickle"),
    "a pickled exception": body(codec="pickle-exception"),
    "a pickle behind a safe one": body().replace(b'"safe"', b'"safe", "codec": "pickle"'),
    "another task's": body(task="1" * 32),
    "a value that is longer than it says": body(VALUE + b"more"),
    "a value that is shorter": body(VALUE[:-1]),
    "a negative length": body(bytes=-7),
    "a length that is true": body(b"x", bytes=True),
    "no length": body(bytes=None),
    "a value with another digest": body(sha256="0" * 64),
    "another outcome": body(outcome="error"),
    "an exit code": body(exit_code=7),
    "counts of elements": body(elements={"total": 7}),
    "files that did not come": body(files=[{"name": "/etc/passwd"}]),
    "files that are none": body(files=[1]),
    "an exception that is a list": body(exception=[1]),
    "an output that is a number": body(stderr_tail=7),
    "a list": MAGIC + b"[]\n",
    "brackets": MAGIC + b"[" * 200_000 + b"\n",
    "a long number": MAGIC + b'{"codec": "", "bytes": ' + b"9" * 5000 + b"}\n",
    "no header": MAGIC,
    "another file": b"#!/bin/sh\n",
}


@pytest.mark.parametrize("what", ODD)
def test_a_result_that_our_runner_does_not_write(
    land: Callable[[bytes], Landed], what: str
) -> None:
    landed = land(upload(ODD[what]))
    assert landed.entry is None
    assert landed.is_hosts
    assert landed.lost is not None
    assert "cannot be understood" not in landed.lost["message"], "it was an error of ours"


@pytest.mark.parametrize("outcome", ["success", "error"])
def test_an_end_without_the_result_that_belongs_to_it(
    land: Callable[[bytes], Landed], outcome: str
) -> None:
    landed = land(upload(b"", outcome=outcome))
    assert landed.entry is None
    assert landed.is_hosts


def of_files(*names: str) -> bytes:
    told = [{"name": name, "bytes": 1, "sha256": ""} for name in names]
    return body(b"", codec="", bytes=0, exit_code=0, files=told)


def test_files_land_with_a_header_that_speaks_of_them(land: Callable[[bytes], Landed]) -> None:
    landed = land(upload(of_files("stdout", "a/b"), {"stdout": b"x", "a/b": b"y"}, exit_code=0))
    assert landed.entry is not None


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "c"])
def test_a_header_names_no_file_that_did_not_come(
    land: Callable[[bytes], Landed], tmp_path: Path, name: str
) -> None:
    landed = land(upload(of_files("stdout", name), {"stdout": b"x"}, exit_code=0))
    assert landed.entry is None
    assert not (tmp_path / "stage" / f"{ATTEMPT}.files").exists()
