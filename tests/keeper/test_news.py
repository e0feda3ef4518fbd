"""What attempts say while they run comes home: progress, output, checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

from spoolmw.model.agent import Launch
from spoolmw.runner import checkpoint
from tests.keeper.work import double, hold, save_and_hold
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, Line, Told, kill, names
from tests.support.waiting import wait_until

EVERY = {"every_s": 0.0}


def tail(line: Line, work: Launch, offset: int = 0, stream: str = "stdout") -> bytes:
    line.say("tail", ask=7, attempt=str(work.attempt), offset=offset, stream=stream)
    told = line.until("tail")
    assert told["ask"] == 7
    return bytes(told["body"])


def saving(
    host: FarHost, bench: Bench, flag: str = "never", size: int = 10
) -> tuple[Line, Launch]:
    """A line to the host, and work that saves there as it begins."""
    line = host.client()
    work = bench.call(save_and_hold, str(bench.root / flag), size, checkpoint=EVERY)
    line.launch(bench.root, work)
    return line, work


def unpacked(told: Told, place: Path) -> checkpoint.Checkpoint:
    """A checkpoint as it would be stored at home; every byte of it checked."""
    [each] = told["attempts"]
    task, replica, attempt = each["attempt"].split(".")
    owner = checkpoint.Owner(str(place), task, int(replica))
    folder = Path(owner.folder) / f"{attempt}-{each['sequence']}"
    shutil.rmtree(folder, ignore_errors=True)
    at = 0
    for name, size in told["files"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(told["body"][at : at + size])
        at += size
    assert told["files"][-1][0] == checkpoint.MANIFEST
    return checkpoint.verify(str(folder), owner)


def bring(line: Line, place: str, folder: Path) -> None:
    """Put a checkpoint on the host, its MANIFEST last."""
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    files.sort(key=lambda each: each.name == checkpoint.MANIFEST)
    for each in files:
        line.put(f"{place}/{each.relative_to(folder)}", each.read_bytes())


def test_what_a_running_attempt_prints_can_be_read(host: FarHost, bench: Bench) -> None:
    flag = bench.root / "flag"
    line = host.client()
    call = bench.call(hold, str(flag), "said by a call")
    script = bench.script(
        f"#!/bin/sh\necho said by a script\nwhile [ ! -e {flag} ]; do sleep 0.01; done\n"
    )
    line.launch(bench.root, call, script)
    wait_until(lambda: tail(line, script) == b"said by a script\n")
    wait_until(lambda: tail(line, call) == b"said by a call\n")
    assert tail(line, call, -5) == b"call\n"
    assert tail(line, call, 5) == b"by a call\n"
    assert tail(line, call, 10**30) == b""
    assert tail(line, call, stream="stderr") == b""
    assert tail(line, bench.call(double, 1)) == b""


def test_progress_and_starts_are_told(host: FarHost, bench: Bench) -> None:
    line, work = saving(host, bench)
    assert line.until("progress")["attempts"][0]["text"] == "number 1"
    assert line.until("started")["attempts"][0]["slot"].startswith("lab:here-")
    assert line.until("usage")["attempts"][0]["attempt"] == str(work.attempt)


def test_a_checkpoint_comes_home_whole_while_the_attempt_runs(
    host: FarHost, bench: Bench, tmp_path: Path
) -> None:
    line, _ = saving(host, bench, size=3_000_000)
    found = unpacked(line.until("checkpointed"), tmp_path / "kept")
    assert found.order == (1, 1)
    assert found.size_bytes > 3_000_000


def test_the_newest_checkpoint_is_told_to_who_comes_anew(
    host: FarHost, bench: Bench, tmp_path: Path
) -> None:
    line, work = saving(host, bench)
    line.until("checkpointed")
    line.close()
    key = f"{work.attempt.task}/0"
    again = host.client()
    assert again.hello["checkpoints"] == {key: ["1-1"]}
    unpacked(again.until("checkpointed"), tmp_path / "kept")
    again.close()
    third = host.client(saved=[f"{key}/1-1"])
    third.until("told")
    assert not [each for each in third.events if each["event"] == "checkpointed"]


def test_a_checkpoint_that_a_disk_has_lost_cuts_nobody_off(host: FarHost, bench: Bench) -> None:
    line, work = saving(host, bench)
    line.until("checkpointed")
    line.close()
    folder = host.path("checkpoints") / work.attempt.task / "0" / "1-1"
    for each in folder.rglob("*"):
        if each.is_file() and each.name != checkpoint.MANIFEST:
            each.write_bytes(b"")
    again = host.client()
    again.until("told")
    other = bench.call(double, 7)
    again.launch(bench.root, other)
    assert again.report_of(other)[0]["outcome"] == "success"
    assert not [each for each in again.events if each["event"] == "checkpointed"]


def test_one_that_came_home_damaged_is_dropped_and_the_one_before_it_told(
    host: FarHost, bench: Bench, tmp_path: Path
) -> None:
    line, first = saving(host, bench)
    found = unpacked(line.until("checkpointed"), tmp_path / "kept")
    key = f"{first.attempt.task}/0"
    newer = host.path("checkpoints") / key / "1-2"
    shutil.copytree(found.path, newer)
    line.say("drop", damaged=[f"{key}/1-2", f"{key}/9-9", "../1-1"])
    told = line.until("checkpointed")
    assert told["attempts"][0]["sequence"] == 1
    assert host.listed(f"checkpoints/{key}") == ["1-1"]


def test_a_checkpoint_survives_the_reboot_that_its_attempt_does_not(
    host: FarHost, bench: Bench, tmp_path: Path
) -> None:
    line, _ = saving(host, bench)
    line.until("checkpointed")
    host.reboot()
    again = host.client()
    assert again.hello["live"] == []
    again.until("told")
    found = unpacked(again.until("checkpointed"), tmp_path / "kept")
    assert found.order == (1, 1)


def test_an_attempt_goes_on_from_a_checkpoint_that_was_put(
    host: FarHost, bench: Bench, tmp_path: Path
) -> None:
    line, first = saving(host, bench, "flag")
    found = unpacked(line.until("checkpointed"), tmp_path / "kept")
    line.say("close", grace_s=0.0)
    line.until_closed()
    shutil.rmtree(host.folder)
    other = host.client()
    bring(other, f"checkpoints/{first.attempt.task}/0/1-1", Path(found.path))
    second = bench.again(first)
    other.launch(bench.root, second)
    assert other.until("resumed")["attempts"][0]["saved"][:2] == [1, 1]
    assert other.until("progress")["attempts"][0]["text"] == "number 2"
    (bench.root / "flag").touch()
    other.report_of(second)
    other.release(second)
    other.settle()
    assert host.listed("checkpoints") == [], "the task is done: nobody goes on from them"


def test_half_a_checkpoint_does_not_count(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(save_and_hold, str(bench.root / "never"), checkpoint=EVERY)
    line.put(f"checkpoints/{work.attempt.task}/0/1-1/state.pickle", b"half of it")
    line.launch(bench.root, bench.again(work))
    assert line.until("progress")["attempts"][0]["text"] == "number 1"
    host.reboot()
    again = host.client()
    assert again.hello["checkpoints"] == {f"{work.attempt.task}/0": ["2-1"]}


def test_checkpoints_are_dropped_when_home_says_so(host: FarHost, bench: Bench) -> None:
    line, work = saving(host, bench)
    line.until("checkpointed")
    key = f"{work.attempt.task}/0"
    line.say("drop", checkpoints=[key])
    line.settle()
    assert host.listed(f"checkpoints/{key}") == ["1-1"], "its attempt is live"
    line.say("stop", attempts=names([work]), wanted=False)
    line.until("stopped")
    line.say("drop", checkpoints=[key])
    line.settle()
    assert host.listed("checkpoints") == []


def test_a_client_that_does_not_read_costs_no_memory(host: FarHost, bench: Bench) -> None:
    line = host.client()
    works = [bench.script("#!/bin/sh\nhead -c 5000000 /dev/zero\n") for _ in range(12)]
    line.launch(bench.root, *works)
    line.settle()
    status = Path(f"/proc/{host.keeper_pid()}/status")
    wait_until(lambda: line.ping() and len(host.listed("stage")) == 2 * len(works))
    peak = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
    assert int(peak.split()[1]) < 40_000, peak
    for each in works:
        line.report_of(each)
    kill(host.keeper_pid())
