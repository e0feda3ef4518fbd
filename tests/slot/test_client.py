"""What a BOINC client wants of a program that runs: suspended, resumed, quit, aborted, and a client
that dies. With real processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spoolmw.model.agent import Launch
from spoolmw.runner import boincslot
from tests.batch.test_one import locally
from tests.batch.test_saving import ALWAYS, a_walk, steps_in, wander
from tests.support.attempts import Bench
from tests.support.batchjob import alive, terminate_at_once
from tests.support.boincslot import Host, Slot
from tests.support.waiting import wait_until

ABORTED = 194


def saved(slot: Slot) -> list[str]:
    """The checkpoints in the slot."""
    task, replica, _ = slot.work.attempt
    folder = slot.folder / "checkpoints" / task / str(replica)
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def states(slot: Slot) -> dict[int, str]:
    """The processes of a slot besides the program itself, and whether they stand (T) or not."""
    found = {}
    for pid in alive(slot.folder):
        try:
            text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            continue
        found[pid] = text.split()[0]
    return found


def stand_still(slot: Slot) -> list[int]:
    return [pid for pid, state in states(slot).items() if state == "T"]


def only_two_are_awake(slot: Slot) -> bool:
    """The program and its runner; the worker, the script and its other half stand.

    D is one that waits for a child which it made by vfork, and which stands before its exec.
    """
    found = list(states(slot).values())
    return len(found) >= 5 and len(found) - found.count("T") - found.count("D") == 2


def lines_in(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def ticker(note: Path, steps: int, gate: Path | None = None) -> str:
    """A script with children of its own, in sessions of their own too; the gate ends it early."""
    goes_on = f"[ $i -lt {steps} ]" + (f" && [ ! -e {gate} ]" if gate else "")
    return (
        f"setsid sh -c 'while :; do sleep 0.02; done' & "
        f"i=0; while {goes_on}; do i=$((i+1)); echo $i >>{note}; sleep 0.02; done"
    )


# -- suspend and resume


def test_a_suspended_tree_stands_still_and_goes_on(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    note, gate = tmp_path / "note", tmp_path / "gate"
    slot = host.slot(bench.command("/bin/sh", "-c", ticker(note, 100_000, gate)))
    slot.start()
    wait_until(lambda: lines_in(note) > 5)
    slot.say("<suspend/>")
    wait_until(lambda: only_two_are_awake(slot), last=lambda: states(slot))
    done = lines_in(note)
    time.sleep(0.5)
    assert lines_in(note) == done
    slot.say("<resume/>")
    wait_until(lambda: lines_in(note) > done)
    gate.touch()
    assert slot.end() == 0
    assert slot.collect().report["outcome"] == "success"
    assert note.read_text().split() == [str(n) for n in range(1, lines_in(note) + 1)]


def test_suspended_again_and_again_it_comes_to_its_end(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    """A client that may use a part of the processor does so each second."""
    note = tmp_path / "note"
    slot = host.slot(bench.command("/bin/sh", "-c", ticker(note, 60)))
    slot.start()
    while slot.poll() is None:
        for each in ("<suspend/>", "<resume/>"):
            wait_until(lambda: slot.is_heard() or slot.poll() is not None)
            if slot.poll() is None:
                slot.say(each)
    assert slot.end() == 0
    assert slot.collect().report["outcome"] == "success"


def test_time_that_it_stood_still_does_not_count(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    script = f"touch {mark}; while [ ! -e {gate} ]; do sleep 0.05; done; echo done"
    work = bench.command("/bin/sh", "-c", script, time_s=5.0)
    slot = host.slot(work)
    slot.start()
    wait_until(mark.exists)
    slot.say("<suspend/>")
    wait_until(lambda: stand_still(slot))
    time.sleep(5.5)
    gate.touch()
    slot.say("<resume/>")
    assert slot.end() == 0
    assert slot.collect().report["outcome"] == "success"


def test_time_that_it_ran_counts(bench: Bench, host: Host, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    work = bench.command("/bin/sh", "-c", f"touch {mark}; sleep 60", time_s=4.0)
    slot = host.slot(work)
    slot.start()
    wait_until(mark.exists)
    slot.say("<suspend/>")
    wait_until(lambda: stand_still(slot))
    slot.say("<resume/>")
    assert slot.end() == 0
    assert slot.collect().report["cause"] == "timeout"


def test_suspended_before_it_began(bench: Bench, host: Host, tmp_path: Path) -> None:
    note = tmp_path / "note"
    slot = host.slot(bench.command("/bin/sh", "-c", f"echo x >{note}"))
    slot.start()
    slot.say("<suspend/>")
    wait_until(slot.is_heard)
    time.sleep(1.0)
    slot.say("<resume/>")
    assert slot.end() == 0
    assert slot.collect().report["outcome"] == "success"


# -- quit


def test_quit_and_started_again_it_goes_on_and_the_value_is_the_same(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    gate, note = tmp_path / "gate", tmp_path / "note"
    work = bench.call(wander, 5, str(note), 0.0, str(gate), checkpoint={"every_s": 3600.0})
    slot = host.slot(work)
    slot.start()
    wait_until(lambda: len(steps_in(note)) == 4)
    assert saved(slot) == []
    slot.say("<quit/>")
    assert slot.end() == 0
    assert not slot.is_finished
    assert len(saved(slot)) == 1, "it saved because it was to end"
    assert alive(slot.folder) == []
    gate.touch()
    assert slot.run() == 0
    collected = slot.collect()
    assert steps_in(note) == [1, 2, 3, 4, 5]
    assert dict(collected.news)["resumed"][0]["saved"][:2] == [1, 1]
    same = a_walk(bench, tmp_path / "other", steps=5)
    assert bytes(bench.result(work).value) == locally(bench, same)


def test_what_saves_nothing_is_ended_by_quit_and_begins_anew(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = f"setsid sleep 99 & [ -e {mark} ] && exit 0; touch {mark}; sleep 99"
    slot = host.slot(bench.command("/bin/sh", "-c", script))
    slot.start()
    wait_until(mark.exists)
    before = time.monotonic()
    slot.say("<quit/>")
    assert slot.end() == 0
    assert time.monotonic() - before < 5
    assert not slot.is_finished
    assert alive(slot.folder) == []
    assert slot.run() == 0
    assert slot.collect().report["outcome"] == "success"


def test_quit_while_it_stands_still_it_saves(bench: Bench, host: Host, tmp_path: Path) -> None:
    gate, note = tmp_path / "gate", tmp_path / "note"
    work = bench.call(wander, 5, str(note), 0.0, str(gate), checkpoint={"every_s": 3600.0})
    slot = host.slot(work)
    slot.start()
    wait_until(lambda: len(steps_in(note)) == 4)
    slot.say("<suspend/>")
    wait_until(lambda: stand_still(slot))
    slot.say("<quit/>")
    assert slot.end() == 0
    assert not slot.is_finished
    assert len(saved(slot)) == 1


def test_a_signal_is_as_good_as_quit(bench: Bench, host: Host, tmp_path: Path) -> None:
    """systemd ends all processes of a service so."""
    note = tmp_path / "note"
    slot = host.slot(a_walk(bench, note, steps=10_000, pause_s=0.05))
    slot.start()
    wait_until(lambda: len(steps_in(note)) >= 2)
    terminate_at_once(alive(slot.folder))
    assert slot.end() == 0
    assert not slot.is_finished
    assert alive(slot.folder) == []


def a_counter(bench: Bench, steps: int) -> Launch:
    """A command that saves each step, and prints what must not be lost or come twice."""
    script = (
        "n=$(cat state 2>/dev/null || echo 0); n=$((n+1)); echo line $n; echo $n >state;"
        f" [ $n -lt {steps} ] || exit 0; sleep 0.05; exit 85"
    )
    return bench.command(
        "/bin/sh", "-c", script, checkpoint={"every_s": 3600.0, "files": ("state",)}
    )


def printed(bench: Bench, slot: Slot) -> list[str]:
    slot.collect()
    return bench.files(slot.work)["stdout"].decode().splitlines()


@pytest.mark.parametrize("number", [0, signal.SIGKILL])
def test_a_command_that_was_ended_thrice_has_printed_each_line_once(
    bench: Bench, host: Host, number: int
) -> None:
    slot = host.slot(a_counter(bench, 100))
    for _ in range(3):
        slot.start()
        wait_until(lambda: slot.status().get("checkpoint_cpu_time"))
        if number:
            os.kill(slot.pid, number)
        else:
            slot.say("<quit/>")
        assert slot.end() == -number
        assert not slot.is_finished
        wait_until(lambda: alive(slot.folder) == [])
    assert slot.run() == 0
    assert printed(bench, slot) == [f"line {number}" for number in range(1, 101)]


def test_each_save_is_told_to_the_client(bench: Bench, host: Host, tmp_path: Path) -> None:
    slot = host.slot(a_walk(bench, tmp_path / "note", steps=10_000, pause_s=0.05))
    slot.start(cpu_s=5.0)
    first = wait_until(lambda: slot.status().get("checkpoint_cpu_time", 0.0) > 5.0)
    assert first
    slot.say("<abort/>")
    slot.end()


# -- abort


@pytest.mark.parametrize("is_suspended", [False, True])
def test_aborted_it_ends_at_once_with_all_below_it(
    bench: Bench, host: Host, tmp_path: Path, is_suspended: bool
) -> None:
    note = tmp_path / "note"
    script = f"trap '' TERM; {ticker(note, 100_000)}"
    slot = host.slot(bench.command("/bin/sh", "-c", script))
    slot.start()
    wait_until(lambda: lines_in(note) > 2)
    if is_suspended:
        slot.say("<suspend/>")
        wait_until(lambda: stand_still(slot))
    before = time.monotonic()
    slot.say("<abort/>")
    assert slot.end() == ABORTED
    assert time.monotonic() - before < 9
    assert alive(slot.folder) == []
    assert not slot.is_finished


# -- a client that dies


@pytest.mark.parametrize("is_suspended", [False, True])
def test_a_client_that_is_killed_takes_its_programs_along(
    bench: Bench, host: Host, tmp_path: Path, is_suspended: bool
) -> None:
    gate, note = tmp_path / "gate", tmp_path / "note"
    work = bench.call(wander, 12, str(note), 0.05, str(gate), checkpoint=ALWAYS)
    slot = host.slot(work)
    slot.start_under_a_client()
    wait_until(lambda: len(steps_in(note)) >= 5)
    if is_suspended:
        slot.say("<suspend/>")
        wait_until(lambda: stand_still(slot))
    slot.kill_client()
    before = time.monotonic()
    wait_until(lambda: alive(slot.folder) == [])
    assert time.monotonic() - before < 25
    assert not slot.is_finished
    assert "its client is dead" in slot.said
    taken = len(steps_in(note))
    gate.touch()
    assert slot.run() == 0
    assert slot.collect().report["outcome"] == "success"
    again = [each for each in steps_in(note)[taken:] if each <= taken]
    assert len(again) <= 1


def test_a_client_that_comes_back_at_once_waits_for_the_copy_that_still_ends(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    script = (
        f"trap 'sleep 2; echo saved | tee -a {note} >state; exit 85' TERM;"
        f" echo begin >>{note}; [ -e state ] && exit 0;"
        " while :; do sleep 0.05; done"
    )
    wish = {"every_s": 3600.0, "files": ("state",)}
    slot = host.slot(bench.command("/bin/sh", "-c", script, checkpoint=wish))
    slot.start_under_a_client()
    wait_until(note.exists)
    slot.kill_client()
    assert slot.run() == 0
    assert slot.collect().report["outcome"] == "success"
    assert note.read_text().split() == ["begin", "saved", "begin"], "never two at once"


def test_what_an_orphan_has_done_in_time_is_not_done_again(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    script = f"trap 'sleep 1; exit 0' TERM; echo begin >>{note}; while :; do sleep 0.05; done"
    slot = host.slot(bench.command("/bin/sh", "-c", script))
    slot.start_under_a_client()
    wait_until(note.exists)
    slot.kill_client()
    assert slot.run() == 0
    assert slot.collect().report["outcome"] == "success"
    assert note.read_text().split() == ["begin"]


def test_the_program_is_killed_and_leaves_nothing_running(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    note, gate = tmp_path / "note", tmp_path / "gate"
    slot = host.slot(bench.command("/bin/sh", "-c", ticker(note, 100_000, gate)))
    slot.start()
    wait_until(lambda: lines_in(note) > 2)
    slot.say("<suspend/>")
    wait_until(lambda: stand_still(slot))
    os.kill(slot.pid, signal.SIGKILL)
    slot.end()
    wait_until(lambda: alive(slot.folder) == [])
    assert list(slot.folder.glob("work-*")), "nobody was there to remove it"
    gate.touch()
    assert slot.run() == 0
    assert not list(slot.folder.glob("work-*"))
    assert slot.collect().report["outcome"] == "success"


def test_killed_at_many_moments_it_comes_to_the_same_end(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    work = a_walk(bench, tmp_path / "note", steps=60, pause_s=0.02)
    slot = host.slot(work)
    chance = random.Random(7)
    for _ in range(12):
        slot.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            slot.end(chance.uniform(0.1, 0.9))
        slot.kill()
    assert slot.run() == 0
    assert slot.collect().report["outcome"] == "success"
    assert not list(slot.folder.glob("work-*"))
    same = a_walk(bench, tmp_path / "other", steps=60)
    assert bytes(bench.result(work).value) == locally(bench, same)


def test_killed_while_it_ends_it_delivers_all_the_next_time(bench: Bench, host: Host) -> None:
    """Large output: it is moved, packed and made durable around these moments."""
    size = 40_000_000
    for number in range(10):
        work = bench.command("/bin/sh", "-c", f"head -c {size} /dev/zero >big")
        slot = host.slot(work)
        slot.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            slot.end(0.25 + 0.08 * number)
        slot.kill()
        assert slot.run() == 0
        assert slot.collect().report["outcome"] == "success"
        assert not [each for each in slot.folder.iterdir() if each.name[0] == "."]
        big = bench.root / "stage" / f"{work.attempt}.files" / "big"
        assert big.stat().st_size == size
        big.unlink()
        (slot.folder / "out.bin").unlink()


def test_a_client_that_is_silent_is_taken_for_dead_and_a_second_copy_does_not_begin(
    bench: Bench, host: Host, tmp_path: Path
) -> None:
    """The first program cannot tell that this process is its client: it listens to the heartbeat."""
    note = tmp_path / "note"
    slot = host.slot(a_walk(bench, note, steps=100_000, pause_s=0.2))
    slot.start(is_child=False)
    first = slot.pid
    wait_until(lambda: len(steps_in(note)) >= 2)
    before = time.monotonic()
    second = slot.another()
    while second.poll() is None and time.monotonic() - before < 60:
        slot.beat()
        time.sleep(0.2)
    assert time.monotonic() - before >= 35
    assert second.returncode == 0
    assert not slot.is_finished
    text = (slot.folder / boincslot.TEMPORARY).read_text()
    assert text.splitlines() == ["60", "another copy works in this slot"]
    assert Path(f"/proc/{first}").exists()
    silent = time.monotonic()
    assert slot.end() == 0
    assert 25 < time.monotonic() - silent < 45
    assert "silent" in slot.said
    assert not slot.is_finished
    assert saved(slot)
