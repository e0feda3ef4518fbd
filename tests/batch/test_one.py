"""One attempt in one batch job, with real processes: what comes back is what a local run leaves."""

from __future__ import annotations

import json
import math
import os
import random
import stat
import sys
import time
from pathlib import Path

import pytest

from spoolmw import progress
from spoolmw.agents.batch import collecting
from spoolmw.agents.local import LocalAgent
from spoolmw.config import AgentConfig
from spoolmw.format import resultfile
from spoolmw.model.agent import Launch
from spoolmw.model.events import Reported
from spoolmw.model.ids import AgentName
from spoolmw.runner import host
from spoolmw.runner.order import Element
from tests.support.attempts import Bench
from tests.support.batchjob import BatchSystem, Job, alive
from tests.support.waiting import wait_until
from tests.unit.agents.test_arguments import a_taker, keep
from tests.unit.agents.test_bundle import other_pythons


def walk(steps: int, seed: int) -> list[float]:
    """Something with many digits."""
    source = random.Random(seed)
    print("it walks")
    return [source.gauss(0.0, 1.0) for _ in range(steps)]


def locally(bench: Bench, work: Launch) -> bytes:
    """The value of the same task on this machine's cores, as bytes."""
    heard = bench.heard
    agent = LocalAgent(AgentName("here"), bench.root, AgentConfig(name="here"), heard)
    try:
        again = bench.again(work)
        agent.launch([again])
        assert isinstance(heard.end_of(again), Reported)
        return bytes(resultfile.read(bench.staged(again)).value)
    finally:
        agent.close(0.0)


def test_a_call_returns_bit_by_bit_what_it_returns_locally(
    bench: Bench, system: BatchSystem
) -> None:
    work = bench.call(walk, 5000, 7)
    collected = system.run(work)
    assert collected.report["outcome"] == "success"
    assert collected.report["token"] == work.token
    assert bytes(bench.result(work).value) == locally(bench, work)
    assert collected.log == b"it walks\n"
    assert (collected.host, collected.machine) == (os.uname().nodename, host.machine())
    assert collected.python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


def test_hosts_with_another_python_than_the_daemons(bench: Bench, system: BatchSystem) -> None:
    others = other_pythons()
    if not others:
        pytest.skip("no other Python is here")
    for version, path in others:
        system.python = path
        work = bench.call(math.sqrt, 4, python=version)
        collected = system.run(work)
        assert collected.python.startswith(f"{version}.")
        assert bench.value(work) == 2.0


def test_a_call_whose_result_shall_be_safe(bench: Bench, system: BatchSystem) -> None:
    work = bench.call(walk, 3, 7, result="safe")
    system.run(work)
    assert bench.result(work).header["codec"] == "safe"
    assert bench.value(work) == walk(3, 7)


def test_a_call_that_fails_is_a_report_too(bench: Bench, system: BatchSystem) -> None:
    def fail() -> None:
        raise ValueError("no such luck")

    work = bench.call(fail)
    collected = system.run(work)
    assert (collected.report["outcome"], collected.report["cause"]) == ("error", "exception")
    assert bench.result(work).header["exception"]["type"] == "ValueError"


def test_a_command_with_files_in_and_out(bench: Bench, system: BatchSystem) -> None:
    digest = bench.input(b"twelve bytes")
    script = 'cat in/data; mkdir d; cp in/data "d/a b,c"; echo x >run; chmod 755 run; : >empty'
    work = bench.command(
        *("/bin/sh", "-c", script),
        inputs=[{"name": "in/data", "sha256": digest, "bytes": 12}],
    )
    collected = system.run(work)
    assert collected.report["outcome"] == "success"
    assert bench.files(work) == {
        **{"stdout": b"twelve bytes", "stderr": b"", "empty": b""},
        **{"run": b"x\n", "d/a b,c": b"twelve bytes"},
    }
    folder = bench.root / "stage" / f"{work.attempt}.files"
    assert stat.S_IMODE((folder / "run").stat().st_mode) & 0o111
    assert not stat.S_IMODE((folder / "d/a b,c").stat().st_mode) & 0o111


def test_names_that_a_batch_system_would_mangle_come_back(
    bench: Bench, system: BatchSystem
) -> None:
    names = ["new\nline", "comma,", " blank ", "$(HOME)", "-rf", "ä\udcff"]
    script = "import sys\nfor name in sys.argv[1:]: open(name, 'w').write(name[0])"
    work = bench.command(sys.executable, "-c", script, *names[:-1], name="a,b;c d")
    program = "open(b'\\xc3\\xa4\\xff', 'w').write('x')"
    odd = bench.command(sys.executable, "-c", program)
    system.run(work)
    assert set(bench.files(work)) == {"stdout", "stderr", *names[:-1]}
    system.run(odd)
    assert set(bench.files(odd)) == {"stdout", "stderr", names[-1]}


def test_only_plain_names_travel_and_nothing_is_copied(
    bench: Bench, system: BatchSystem
) -> None:
    digest = bench.input(b"abc")
    work = bench.command("cat", "x", inputs=[{"name": "x", "sha256": digest, "bytes": 3}])
    job = system.job(work)
    assert job.packed.travels == ("order.json", "task", digest, "checkpoints")
    for name, source in (("task", work.path), (digest, f"inputs/{digest}")):
        assert (job.packed.source / name).samefile(bench.root / source)
    assert list(job.home.iterdir()) == [], "what comes back must not be written through links"


def test_a_job_with_thousands_of_inputs(bench: Bench, system: BatchSystem) -> None:
    data = [str(number).encode() for number in range(5000)]
    inputs = [
        {"name": f"in/{each.decode()}", "sha256": bench.input(each), "bytes": len(each)}
        for each in data
    ]
    work = bench.command("/bin/sh", "-c", "ls in | wc -l", inputs=inputs)
    system.run(work)
    assert bench.files(work)["stdout"].strip() == b"5000"


def test_values_of_other_tasks_are_taken_along(bench: Bench, system: BatchSystem) -> None:
    keep(bench, {"a": [1.5, 2]})
    work = a_taker(bench, "ONE", 3)
    collected = system.run(work)
    assert collected.report["outcome"] == "success"
    assert bench.value(work) == ({"a": [1.5, 2]}, 3)


def test_an_element_of_an_array_knows_which_it_is(bench: Bench, system: BatchSystem) -> None:
    work = bench.command("/bin/sh", "-c", "echo $SPOOLMW_ARRAY_INDEX: $SPOOLMW_ARRAY_LINE")
    job = system.job(work, Element(1, 5, "the line"))
    assert job.run() == 0
    job.collect()
    assert bench.files(work)["stdout"] == b"5: the line\n"


def test_a_task_finds_the_usual_variables_and_those_of_the_batch_system(
    bench: Bench, system: BatchSystem
) -> None:
    def look() -> dict[str, str]:
        return dict(os.environ)

    work = bench.call(look, cpus=3)
    job = system.job(work, env={"LAB": "east"})
    job.start(OMP_NUM_THREADS="3", SECRET="of the pool")
    assert job.end() == 0
    job.collect()
    env = bench.value(work)
    assert env["SPOOLMW_TOKEN"] == work.token
    assert env["SPOOLMW_CPUS"] == env["OMP_NUM_THREADS"] == "3"
    assert env["LAB"] == "east"
    assert "SECRET" not in env


def test_devices_are_those_that_the_batch_system_gave(
    bench: Bench, system: BatchSystem
) -> None:
    work = bench.command("/bin/sh", "-c", "echo $CUDA_VISIBLE_DEVICES", gpus=2)
    job = system.job(work)
    assert job.run(CUDA_VISIBLE_DEVICES="GPU-aa,GPU-bb") == 0
    job.collect()
    assert bench.files(work)["stdout"] == b"GPU-aa,GPU-bb\n"


def test_too_few_devices_are_a_loss_that_does_not_count(
    bench: Bench, system: BatchSystem
) -> None:
    report = system.run(bench.command("true", gpus=1)).report
    assert (report["outcome"], report["blame"], report["counts"]) == ("lost", "agent", False)
    assert "0 gpus" in report["message"]


def test_time_memory_and_output_are_limited(bench: Bench, system: BatchSystem) -> None:
    def greedy() -> int:
        held = bytearray(400 << 20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(20)
        return len(held)

    slow = bench.command("sleep", "60", time_s=0.3)
    wide = bench.command("/bin/sh", "-c", "yes | head -c 3000000", output=1_000_000)
    fat = bench.call(greedy, memory=100 << 20)
    found = [system.run(work).report["cause"] for work in (slow, wide, fat)]
    assert found == ["timeout", "output", "memory"]


def test_nothing_of_a_task_lives_on(bench: Bench, system: BatchSystem) -> None:
    work = bench.command("/bin/sh", "-c", "setsid sleep 77 & sleep 77 & echo done")
    job = system.job(work)
    assert job.run() == 0
    assert alive(job.sandbox) == []
    left = sorted(each.name for each in job.sandbox.iterdir())
    assert left == sorted(["checkpoints", "order.json", "out", "task", system.archive.name]), (
        "the working folder is gone"
    )


def test_on_a_shared_file_system_nothing_travels(bench: Bench, system: BatchSystem) -> None:
    digest = bench.input(b"abc")
    work = bench.command("cat", "x", inputs=[{"name": "x", "sha256": digest, "bytes": 3}])
    job = system.job(work, shared_files=True)
    assert job.packed.travels == ()
    scratch = system.base / "scratch"
    scratch.mkdir()
    assert job.run(_CONDOR_SCRATCH_DIR=str(scratch)) == 0
    collecting.collect(job.home / "out", system.root, job.given)
    assert bench.files(work)["stdout"] == b"abc"
    assert list(scratch.iterdir()) == []


def test_a_job_that_had_ended_is_not_done_twice(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = bench.command("/bin/sh", "-c", f"echo once >>{note}")
    job = system.job(work)
    assert job.run() == 0
    assert job.run() == 0
    assert note.read_text() == "once\n"
    assert job.collect().report["outcome"] == "success"


def test_a_job_that_runs_twice_at_once_is_done_once(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    """A host that was taken for dead thaws when the job runs elsewhere, in the same folder."""
    gate = tmp_path / "gate"
    wait = f"echo x >>{gate}.n; while [ ! -e {gate} ]; do sleep 0.02; done; echo $$"
    work = bench.command("/bin/sh", "-c", wait)
    job = system.job(work, shared_files=True)
    twin = Job(system, work, job.packed)
    twin.sandbox = job.sandbox
    system.jobs.append(twin)
    for each in (job, twin):
        each.start()
    wait_until(lambda: Path(f"{gate}.n").exists() and Path(f"{gate}.n").stat().st_size == 4)
    gate.touch()
    assert [job.end(), twin.end()] == [0, 0]
    assert collecting.collect(job.home / "out", system.root, job.given).report["files"]
    assert not [each for each in job.home.iterdir() if each.name.startswith((".", "work"))]


def test_the_report_names_all_that_came_with_it(bench: Bench, system: BatchSystem) -> None:
    job = system.job(bench.call(walk, 3, 1))
    assert job.run() == 0
    told = json.loads((job.sandbox / "out" / "report.json").read_bytes())
    assert sorted(each.name for each in (job.sandbox / "out").iterdir()) == [
        *("log", "report.json", "result")
    ]
    assert told["report"]["body_bytes"] == (job.sandbox / "out" / "result").stat().st_size


def test_what_an_attempt_says_of_its_progress_comes_with_the_report(
    bench: Bench, system: BatchSystem
) -> None:
    def half() -> None:
        progress(0.5, "half")

    news = dict(system.run(bench.call(half)).news)
    assert news["progress"][0]["fraction"] == 0.5
