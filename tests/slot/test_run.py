"""The application in a slot of a BOINC client, with real processes: what comes back, and in which form."""

from __future__ import annotations

import math
import os
import stat
import sys
from pathlib import Path

import pytest

from spoolmw import progress
from spoolmw.agents import boincapp, pythonbundle
from spoolmw.runner import boincslot, onefile
from spoolmw.runner.order import Element
from tests.batch.test_one import locally, walk
from tests.support.attempts import Bench
from tests.support.batchjob import alive
from tests.support.boincslot import Host
from tests.support.smalldisk import small_disk
from tests.unit.agents.test_bundle import other_pythons

NO_PYTHON, DAMAGED, UNUSABLE = 81, 82, 83


def test_a_call_returns_bit_by_bit_what_it_returns_locally(bench: Bench, host: Host) -> None:
    work = bench.call(walk, 5000, 7)
    collected = host.run(work)
    assert collected.report["outcome"] == "success"
    assert bytes(bench.result(work).value) == locally(bench, work)
    assert collected.log == b"it walks\n"


def test_a_command_with_files_in_and_out(bench: Bench, host: Host) -> None:
    digest = bench.input(b"twelve bytes")
    inputs = [{"name": "in/data", "sha256": digest, "bytes": 12}]
    script = 'cat in/data; mkdir d; cp in/data "d/a b"; : >empty'
    work = bench.command("/bin/sh", "-c", script, inputs=inputs)
    host.run(work)
    assert bench.files(work) == {
        **{"stdout": b"twelve bytes", "stderr": b"", "empty": b"", "d/a b": b"twelve bytes"}
    }


def test_an_element_of_an_array(bench: Bench, host: Host) -> None:
    work = bench.command("/bin/sh", "-c", "echo $SPOOLMW_ARRAY_INDEX: $SPOOLMW_ARRAY_LINE")
    slot = host.slot(work, Element(1, 5, "the line"))
    assert slot.run() == 0
    slot.collect()
    assert bench.files(work)["stdout"] == b"5: the line\n"


def test_the_failure_of_a_task_is_no_failure_of_the_program(bench: Bench, host: Host) -> None:
    def fail() -> None:
        raise ValueError("no such luck")

    report = host.run(bench.call(fail)).report
    assert (report["outcome"], report["cause"]) == ("error", "exception")
    report = host.run(bench.command("/bin/sh", "-c", "exit 3")).report
    assert (report["outcome"], report["exit_code"]) == ("error", 3)


def test_files_that_are_the_projects_are_found_through_their_links(
    bench: Bench, host: Host
) -> None:
    digest = bench.input(b"x" * 100_000)
    inputs = [{"name": "x", "sha256": digest, "bytes": 100_000}]
    work = bench.command("/bin/sh", "-c", "wc -c <x", inputs=inputs)
    slot = host.slot(work)
    for name in (digest, "order.json", "task"):
        host.link(slot, name, f"c_{name}")
    output = host.link(slot, "out.bin", "out_1")
    assert slot.run() == 0
    assert output.stat().st_size > 100
    slot.collect()
    assert bench.files(work)["stdout"].strip() == b"100000"


def test_an_input_that_looks_like_a_link_is_one_nevertheless(bench: Bench, host: Host) -> None:
    for text in (b"<soft_link>/etc/passwd</soft_link>", b"<soft_link>x"):
        digest = bench.input(text)
        inputs = [{"name": "x", "sha256": digest, "bytes": len(text)}]
        work = bench.command("cat", "x", inputs=inputs)
        host.run(work)
        assert bench.files(work)["stdout"] == text


def test_what_a_task_prints_is_not_the_programs_own(bench: Bench, host: Host) -> None:
    """Clients put what a program prints into their reports as it is, and some break them."""
    poison = "printf '\\001\\033[2J]]>\\000\\377</stderr_out>' >&2; echo ]]\\>"
    slot = host.slot(bench.command("/bin/sh", "-c", poison))
    assert slot.run() == 0
    assert slot.said == ""
    slot.collect()
    assert b"]]>" in bench.files(slot.work)["stderr"]

    def call() -> None:
        os.write(2, b"\x01\xff]]>")

    slot = host.slot(bench.call(call))
    assert slot.run() == 0
    assert slot.said == ""


def test_the_client_hears_how_far_it_is_and_what_it_costs(bench: Bench, host: Host) -> None:
    def work_hard(gate: str) -> None:
        progress(0.25)
        while not os.path.exists(gate):
            math.factorial(2000)

    gate = host.base / "gate"
    slot = host.slot(bench.call(work_hard, str(gate)))
    slot.start(cpu_s=100.0)
    seen = [slot.next_status()]
    while not (seen[-1]["fraction_done"] and seen[-1]["current_cpu_time"] > 100.5):
        seen.append(slot.next_status())
    assert seen[-1]["fraction_done"] == 0.25
    assert {each["checkpoint_cpu_time"] for each in seen} == {100.0}
    gate.touch()
    assert slot.end() == 0
    assert slot.next_status()["current_cpu_time"] >= seen[-1]["current_cpu_time"]


def test_processor_time_of_what_has_ended_counts_too(bench: Bench, host: Host) -> None:
    spin = "import time\nwhile time.process_time() < 0.6: pass"
    slot = host.slot(bench.command("/bin/sh", "-c", f'"{sys.executable}" -c "{spin}"; true'))
    assert slot.run() == 0
    assert slot.next_status()["current_cpu_time"] > 0.6


def test_it_works_where_there_is_no_client(bench: Bench, host: Host) -> None:
    work = bench.call(abs, -3)
    slot = host.slot(work)
    assert slot.another().wait(60) == 0
    slot.collect()
    assert bench.value(work) == 3


def test_a_program_that_had_ended_does_nothing_twice(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    """The client was killed before it saw that the program had ended."""
    note = tmp_path / "note"
    slot = host.slot(bench.command("/bin/sh", "-c", f"echo once >>{note}"))
    assert slot.run() == 0
    (slot.folder / "out.bin").unlink()
    assert slot.run() == 0
    assert note.read_text() == "once\n"
    assert slot.collect().report["outcome"] == "success"


def test_nothing_of_an_attempt_lives_on_or_lies_about(bench: Bench, host: Host) -> None:
    slot = host.slot(bench.command("/bin/sh", "-c", "setsid sleep 77 & sleep 77 & echo done"))
    assert slot.run() == 0
    assert alive(slot.folder) == []
    names = {each.name for each in slot.folder.iterdir()}
    assert names == {
        *("order.json", "task", "checkpoints", "out", "out.bin", "stderr.txt"),
        *("init_data.xml", "boinc_mmap_file", "boinc_lockfile", "boinc_finish_called"),
    }
    assert stat.S_IMODE((slot.folder / "out.bin").stat().st_mode) == 0o664


def test_an_output_that_is_larger_than_the_memory_that_the_program_may_use(
    bench: Bench, host: Host
) -> None:
    size = 300_000_000
    work = bench.command("/bin/sh", "-c", f"head -c {size} /dev/zero >big")
    slot = host.slot(work)
    slot.start()
    peak = 0
    while slot.poll() is None:
        for line in _status_of(slot.pid):
            if line.startswith("VmHWM:"):
                peak = max(peak, int(line.split()[1]))
    assert slot.is_finished
    assert 0 < peak < 60_000
    slot.collect()
    assert (bench.root / "stage" / f"{work.attempt}.files" / "big").stat().st_size == size


def _status_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []


# -- what cannot be run


def test_an_input_that_arrived_damaged(bench: Bench, host: Host) -> None:
    digest = bench.input(b"abc")
    inputs = [{"name": "x", "sha256": digest, "bytes": 3}]
    slot = host.slot(bench.command("cat", "x", inputs=inputs))
    (slot.folder / digest).write_bytes(b"abd")
    assert slot.run() == 0
    assert slot.refusal().code == DAMAGED


def test_an_order_that_is_none(bench: Bench, host: Host) -> None:
    slot = host.slot(bench.command("true"))
    (slot.folder / "order.json").write_text("{")
    assert slot.run() == 0
    assert slot.refusal().code == DAMAGED


def test_a_host_without_the_python_that_a_call_needs(bench: Bench, host: Host) -> None:
    slot = host.slot(bench.call(abs, -1, python="3.99"))
    assert slot.run() == 0
    told = slot.refusal()
    assert told.code == NO_PYTHON
    assert "3.99" in told.why


def test_every_python_of_a_host_can_run_the_program(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    others = other_pythons()
    if not others:
        pytest.skip("no other Python is here")
    for version, path in others:
        folder = tmp_path / version
        folder.mkdir()
        (folder / "python3").symlink_to(path)
        slot = host.slot(bench.command("/bin/sh", "-c", "echo done"))
        slot.path = f"{folder}:{os.defpath}"
        assert slot.run() == 0
        collected = slot.collect()
        assert collected.python.startswith(f"{version}.")
        assert bench.files(slot.work)["stdout"] == b"done\n"


def test_another_python_of_the_host_runs_what_needs_it(bench: Bench, host: Host) -> None:
    others = other_pythons()
    if not others:
        pytest.skip("no other Python is here")
    version, path = others[0]
    work = bench.call(math.sqrt, 4, python=version)
    assert host.run(work, interpreters=[path]).report["outcome"] == "success"
    assert bench.value(work) == 2.0


def test_an_old_cloudpickle_of_the_hosts_is_not_taken(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "cloudpickle.py").write_text("__version__ = '0.1'")
    add = 3
    work = bench.call(lambda number: number + add, 4)
    host.run(work, env={"PYTHONPATH": str(tmp_path)})
    assert bench.value(work) == 7


def test_a_disk_that_is_too_small_for_the_output(bench: Bench, host: Host) -> None:
    slot = host.slot(bench.command("/bin/sh", "-c", "head -c 2500000 /dev/zero >big"))
    disk = host.base / "slots" / "0"
    kept = {each.name: each.read_bytes() for each in disk.iterdir()}
    with small_disk(disk):
        for name, data in kept.items():
            (disk / name).write_bytes(data)
        assert slot.run() == 0
        told = slot.refusal()
        assert told.code == UNUSABLE
        assert "No space left" in told.why


# -- hosts without a Python


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """All that the script needs besides a Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = ("sh", "head", "sed", "tr", "uname", "rm", "mv", "mkdir", "tar", "gzip")
    for name in names:
        path = next(
            Path(each) / name for each in ("/bin", "/usr/bin") if Path(each, name).exists()
        )
        (folder / name).symlink_to(path)
    return folder


def without_python(host: Host) -> None:
    """The script knows the places where a Python usually lies: here are none."""
    program = host.project / boincapp.file_name()
    data = program.read_bytes()
    for place in (b"/usr/local/bin/python3", b"/usr/bin/python3"):
        assert place in data
        data = data.replace(b" " + place, b" " + b"/" * len(place))
    program.write_bytes(data)


def test_a_host_without_any_python_says_so(bench: Bench, host: Host, tools: Path) -> None:
    slot = host.slot(bench.call(abs, -1))
    without_python(host)
    slot.path = str(tools)
    output = host.link(slot, "out.bin", "out_1")
    assert slot.run() == 0
    told = slot.refusal()
    assert (told.code, told.what) == (NO_PYTHON, "this host has no Python from 3.9 on")
    assert told.host == os.uname().nodename
    assert output.exists()
    assert slot.said.count("\n") == 1


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> pythonbundle.Packed:
    return pythonbundle.publish(tmp_path_factory.mktemp("spool") / "runner")


def test_the_python_that_was_sent_is_unpacked_once_and_taken(
    packed: pythonbundle.Packed, bench: Bench, host: Host, tools: Path
) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    work = bench.call(abs, -7, python=version)
    slot = host.slot(work)
    without_python(host)
    slot.path = str(tools)
    (slot.folder / boincslot.BUNDLE).write_bytes(packed.path.read_bytes())
    bundle = host.link(slot, boincslot.BUNDLE, packed.path.name)
    assert slot.run() == 0
    slot.collect()
    assert bench.value(work) == 7
    bundle.unlink()
    assert slot.run() == 0, "as after a restart"
    assert not list(slot.folder.glob("unpacking.*"))


def test_a_python_that_cannot_be_unpacked_is_told(
    packed: pythonbundle.Packed, bench: Bench, host: Host
) -> None:
    slot = host.slot(bench.call(abs, -1))
    (slot.folder / boincslot.BUNDLE).write_bytes(packed.path.read_bytes()[:1_000_000])
    assert slot.run() == 0
    assert slot.refusal().code == NO_PYTHON
    assert "unpacked" in slot.refusal().what


def test_the_application_is_the_same_each_time_and_named_by_its_content() -> None:
    first = boincapp.application()
    boincapp.application.cache_clear()
    assert boincapp.application() == first
    assert boincapp.file_name().startswith("spoolmw_")
    assert onefile.FORMAT == 1
