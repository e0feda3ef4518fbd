"""The probe, and what a host's Pythons are good for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw.runner import host as this_host
from spoolmw.runner import pythons
from tests.support.attempts import Bench
from tests.support.farhost import FarHost

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
FOUND = {each.minor: each for each in pythons.find(closely=True)}


def version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def probe(host: FarHost, folder: Path) -> dict[str, object]:
    command = [sys.executable, str(host.archive), "probe", str(folder)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 1
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_the_probe_tells_what_the_host_has(host: FarHost) -> None:
    told = probe(host, host.folder)
    assert told["machine"] == this_host.machine()
    assert told["unfit"] == ""
    assert isinstance(told["free_bytes"], int)
    assert told["executable"] == sys.executable
    assert told["pythons"][HERE]  # type: ignore[index]
    own = [each for each in told["interpreters"] if each["path"] == sys.executable]  # type: ignore[attr-defined]
    assert own[0]["cloudpickle"]
    assert not host.processes("keeper")


def test_the_probe_says_what_is_wrong_with_the_folder(host: FarHost, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    told = probe(host, tmp_path / "open")
    assert "chmod 700" in str(told["unfit"])


def test_what_is_no_python_is_not_found(tmp_path: Path) -> None:
    liar, silent, slow = (tmp_path / each for each in ("liar", "silent", "slow"))
    liar.write_text("#!/bin/sh\necho 3.99.x\n")
    silent.write_text("#!/bin/sh\nexit 1\n")
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    for each in (liar, silent, slow):
        each.chmod(0o755)
    found = [each.path for each in pythons.find([str(liar), str(silent), str(slow), "/none"])]
    assert sys.executable in found
    assert not {str(liar), str(silent), str(slow)} & set(found)


def test_candidates_come_first() -> None:
    found = pythons.find([os.path.realpath(sys.executable)])
    assert pythons.by_version(found)[HERE] == os.path.realpath(sys.executable)


@pytest.mark.skipif(len(FOUND) < 2, reason="only one Python here")
def test_a_task_runs_with_the_minor_version_that_it_needs(host: FarHost, bench: Bench) -> None:
    """The path that its submitter named may be another version on the host."""
    other = next(each for minor, each in FOUND.items() if minor != HERE)
    line = host.client()
    work = bench.call(version, interpreter=other.path, python=HERE)
    line.launch(bench.root, work)
    _, body = line.report_of(work)
    bench.staged(work).write_bytes(body)
    assert bench.value(work) == HERE


@pytest.mark.skipif("3.9" not in FOUND, reason="no Python 3.9 here")
def test_all_of_it_runs_under_the_oldest_python(host: FarHost, bench: Bench) -> None:
    host.python = FOUND["3.9"].path
    line = host.client()
    assert line.hello["python"].startswith("3.9.")
    script = bench.script("#!/bin/sh\necho hello\n")
    call = bench.call(version, python=HERE)
    line.launch(bench.root, script, call)
    assert line.report_of(script)[0]["outcome"] == "success"
    _, body = line.report_of(call)
    bench.staged(call).write_bytes(body)
    assert bench.value(call) == HERE
    line.close()
    host.reboot()
    again = host.client()
    assert again.report_of(script)[0]["outcome"] == "success"
    assert again.report_of(call)[1] == body


def test_a_python_that_the_host_has_not_is_said_so(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(version, interpreter="/home/ann/bin/python", python="3.99")
    line.launch(bench.root, work)
    report, _ = line.report_of(work)
    assert report["cause"] == "interpreter"
    assert "no other Python 3.99 was found" in report["message"]
