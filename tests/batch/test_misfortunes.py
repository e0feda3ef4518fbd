"""A batch job that cannot do its work: what is damaged, missing or full is said, and is no failure
of the task's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from spoolmw.agents import pythonbundle
from spoolmw.agents.batch import collecting
from spoolmw.agents.batch.packing import LAUNCHER, Manner, Packer
from spoolmw.agents.kinds import kind_of
from spoolmw.errors import AgentError
from spoolmw.runner.order import lines
from tests.batch.test_saving import wander
from tests.support.attempts import Bench
from tests.support.batchjob import EXIT, BatchSystem, Job, alive
from tests.support.smalldisk import small_disk
from tests.support.waiting import wait_until

DAMAGED, UNUSABLE, NO_PYTHON = 82, 83, 81


def refusal_of(job: Job) -> collecting.Refusal:
    told = collecting.refusal(job.bring_back())
    assert told is not None
    return told


@pytest.fixture
def job(bench: Bench, system: BatchSystem) -> Job:
    digest = bench.input(b"abc")
    return system.job(
        bench.command("cat", "x", inputs=[{"name": "x", "sha256": digest, "bytes": 3}])
    )


def digest_in(job: Job) -> Path:
    return next(each for each in job.sandbox.iterdir() if len(each.name) == 64)


def test_an_input_that_was_changed_on_its_way(job: Job) -> None:
    digest_in(job).write_bytes(b"abd")
    assert job.run() == DAMAGED
    told = refusal_of(job)
    assert (told.code, told.host) == (DAMAGED, os.uname().nodename)
    assert "digest is another" in told.why
    assert job.said.count("\n") == 1
    assert digest_in(job).name in job.said


def test_an_input_that_was_cut_short(job: Job) -> None:
    digest_in(job).write_bytes(b"ab")
    assert job.run() == DAMAGED
    assert "2 bytes instead of 3" in refusal_of(job).why


def test_an_input_that_did_not_come(job: Job) -> None:
    digest_in(job).unlink()
    assert job.run() == DAMAGED
    assert "No such file" in refusal_of(job).why


def test_a_tasks_file_that_was_changed(job: Job) -> None:
    task = job.sandbox / "task"
    task.write_bytes(task.read_bytes().replace(b'"cat"', b'"rm"'))
    assert job.run() == DAMAGED


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format":1}', '{"format":2}', '{"format":1,"work":[[{}]]}'],
)
def test_an_order_that_is_none(job: Job, text: str) -> None:
    (job.sandbox / "order.json").write_text(text)
    assert job.run() == DAMAGED
    assert "order.json" in refusal_of(job).what


@pytest.mark.parametrize("place", ["../../x", "active/../x", "checkpoints/a", "inputs/x", 7])
def test_an_order_with_a_place_that_leads_elsewhere(job: Job, place: object) -> None:
    path = job.sandbox / "order.json"
    told = json.loads(path.read_bytes())
    told["files"][0][0] = place
    path.write_text(json.dumps(told))
    assert job.run() == DAMAGED


def test_a_trouble_of_an_earlier_start_is_forgotten(job: Job) -> None:
    kept = digest_in(job).read_bytes()
    digest_in(job).write_bytes(b"abd")
    assert job.run() == DAMAGED
    digest_in(job).write_bytes(kept)
    assert job.run() == 0
    assert job.collect().report["outcome"] == "success"


def test_it_is_forgotten_too_when_there_is_no_report_yet(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    work = bench.call(wander, 3, str(tmp_path / "note"), 1.0, checkpoint={"every_s": 0.0})
    job = system.job(work, checkpoint_exit=EXIT, checkpoint_every_s=0.0)
    kept = (job.sandbox / "task").read_bytes()
    (job.sandbox / "task").write_bytes(b"")
    assert job.run() == DAMAGED
    (job.sandbox / "task").write_bytes(kept)
    assert job.run() == EXIT
    assert collecting.refusal(job.bring_back()) is None


def test_output_files_that_cannot_be_told(bench: Bench, system: BatchSystem) -> None:
    deep = "/".join("d" * 70)
    job = system.job(bench.command("/bin/sh", "-c", f"mkdir -p {deep}; echo x >{deep}/f"))
    assert job.run() == 0
    report = job.collect().report
    assert report["outcome"] == "lost"
    assert "output files cannot be sent" in report["message"]


def test_the_runner_is_killed(bench: Bench, system: BatchSystem, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = system.job(bench.command("/bin/sh", "-c", f"touch {mark}; sleep 99"))
    job.start()
    wait_until(mark.exists)
    for pid in alive(job.sandbox):
        with contextlib.suppress(
            FileNotFoundError, ProcessLookupError
        ):  # its `touch` had ended
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"runner" in words:
                os.kill(pid, signal.SIGKILL)
    assert job.end() == 0
    assert alive(job.sandbox) == []
    report = job.collect().report
    assert (report["outcome"], report["blame"]) == ("lost", "host")
    assert report.get("counts", True), "it ran: the third time it is the task's own fault"
    assert "SIGKILL" in report["message"]


def test_a_worker_is_killed(bench: Bench, system: BatchSystem, tmp_path: Path) -> None:
    def die() -> None:
        print("before", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    job = system.job(bench.call(die))
    assert job.run() == 0
    report = job.collect().report
    assert (report["outcome"], report["cause"]) == ("lost", "vanished")


def test_a_disk_that_is_too_small_for_the_output(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk):
        system.base = disk
        job = system.job(bench.call(bytes, 8 << 20))
        assert job.run() == 0
        report = job.collect().report
        assert (report["outcome"], report["blame"]) == ("lost", "agent")
        assert "No space left" in report["message"]


def test_a_host_without_the_python_that_a_call_needs(bench: Bench, system: BatchSystem) -> None:
    job = system.job(bench.call(abs, -1, python="3.99"))
    assert job.run() == NO_PYTHON
    assert "no other Python 3.99 was found" in refusal_of(job).why


# -- the launcher


def launch(
    folder: Path, *words: str, path: str = os.defpath
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [str(LAUNCHER), *words],
        cwd=folder,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_no_python_that_fits(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = launch(tmp_path / "job", "x.pyz", "-", str(old), 'no"such\\')
    assert done.returncode == NO_PYTHON
    assert done.stderr.startswith("spoolmw: this host has no Python from 3.9 on; ")
    assert done.stderr.count("\n") == 1
    told = collecting.refusal(tmp_path / "job" / "out")
    assert told is not None
    assert (told.code, told.what) == (NO_PYTHON, "this host has no Python from 3.9 on")


def test_a_job_without_a_path_in_its_environment(bench: Bench, system: BatchSystem) -> None:
    work = bench.command("/bin/sh", "-c", "echo $PATH")
    job = system.job(work)
    words = (str(LAUNCHER), system.archive.name, "-", "python3")
    done = subprocess.run(words, cwd=job.sandbox, env={}, check=False, timeout=60)
    assert done.returncode == 0
    job.collect()
    assert bench.files(work)["stdout"].startswith(b"/")


def test_what_was_announced_is_there_whatever_happened(job: Job) -> None:
    (job.sandbox / "order.json").unlink()
    (job.sandbox / "checkpoints").rmdir()
    assert job.run() == DAMAGED
    assert {"out", "checkpoints"} <= {each.name for each in job.sandbox.iterdir()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> pythonbundle.Packed:
    return pythonbundle.publish(tmp_path_factory.mktemp("spool") / "runner")


def test_a_python_that_travels_is_unpacked_once(
    packed: pythonbundle.Packed, bench: Bench, system: BatchSystem
) -> None:
    work = bench.call(abs, -7)
    job = system.job(work)
    shutil.copy(packed.path, job.sandbox)
    words = (system.archive.name, packed.path.name)
    done = launch(job.sandbox, *words)
    assert done.returncode == 0, done.stderr
    job.collect()
    assert bench.value(work) == 7
    (job.sandbox / packed.path.name).unlink()
    shutil.rmtree(job.sandbox / "out")
    assert launch(job.sandbox, *words).returncode == 0, "as after a checkpoint"


def test_a_python_that_was_damaged_on_its_way(
    packed: pythonbundle.Packed, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / packed.path.name).write_bytes(packed.path.read_bytes()[:-1])
    done = launch(folder, "x.pyz", packed.path.name)
    assert done.returncode == NO_PYTHON
    assert "damaged" in done.stderr
    assert launch(tmp_path / "other", "x.pyz", packed.path.name).returncode == NO_PYTHON


# -- at home


def test_a_job_whose_input_is_gone_is_not_made(bench: Bench) -> None:
    work = bench.command("cat", inputs=[{"name": "x", "sha256": "0" * 64, "bytes": 3}])
    packer = Packer(bench.root, Manner(agent="pool"))
    packet = lines(str(work.attempt), work.token, work.path)
    with pytest.raises(AgentError, match="cannot be made"):
        packer.pack(kind_of(work), packet, bench.root / "job")
