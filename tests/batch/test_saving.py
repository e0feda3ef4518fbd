"""A batch job that is taken off its machine: what it saved goes with it to the next one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from spoolmw import checkpoint
from spoolmw.model.agent import Launch
from tests.batch.test_one import locally
from tests.support.attempts import Bench
from tests.support.batchjob import EXIT, BatchSystem, Job, alive, terminate_at_once
from tests.support.smalldisk import small_disk
from tests.support.waiting import wait_until

ALWAYS = {"every_s": 0.0}
TERMINATED = 143


def wander(steps: int, note: str, pause_s: float = 0.0, gate: str = "") -> list[float]:
    """A random walk that saves each step, and notes which steps it took."""
    done, source = checkpoint.load(([], random.Random(1)))
    while len(done) < steps:
        if gate and len(done) == steps - 1:
            while not os.path.exists(gate):
                time.sleep(0.01)
                checkpoint.save((done, source))
        done.append(source.gauss(0.0, 1.0))
        with open(note, "a") as file:
            file.write(f"{len(done)}\n")
        checkpoint.save((done, source))
        time.sleep(pause_s)
    return done


def steps_in(note: Path) -> list[int]:
    return list(map(int, note.read_text().split())) if note.exists() else []


def saved(job: Job) -> list[str]:
    """The checkpoints in the job's sandbox."""
    task, replica, _ = job.work.attempt
    folder = job.sandbox / "checkpoints" / task / str(replica)
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def a_walk(bench: Bench, note: Path, steps: int = 8, pause_s: float = 0.0) -> Launch:
    return bench.call(wander, steps, str(note), pause_s, checkpoint=ALWAYS)


def a_walk_in(
    system: BatchSystem, note: Path, *, every_s: float, steps: int = 8, pause_s: float = 0.0
) -> Job:
    """A job that walks, and hands over what it saved this often."""
    work = a_walk(system.bench, note, steps, pause_s)
    return system.job(work, checkpoint_exit=EXIT, checkpoint_every_s=every_s)


def test_it_hands_over_each_save_and_ends_with_the_right_result(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    """Twice started again in the same sandbox, once in a new one: four runs of one job."""
    note = tmp_path / "note"
    job = a_walk_in(system, note, every_s=0.0, steps=4, pause_s=3.0)
    assert [job.run(), job.run()] == [EXIT, EXIT]
    job.keep_checkpoints()
    job.arrive()
    assert job.run() == EXIT
    codes = [job.run()]
    while codes[-1] == EXIT:  # its last save is handed over too, with nothing left to do
        codes.append(job.run())
    assert codes in ([0], [EXIT, 0])
    assert job.collect().report["outcome"] == "success"
    assert steps_in(note) == [1, 2, 3, 4], "no step was done twice"
    assert bytes(bench.result(job.work).value) == locally(bench, a_walk(bench, note, steps=4))


def test_what_travels_at_a_checkpoint_is_whole_and_little(
    system: BatchSystem, tmp_path: Path
) -> None:
    job = a_walk_in(system, tmp_path / "note", every_s=8.0, steps=10_000, pause_s=0.01)
    assert job.run() == EXIT
    assert len(saved(job)) <= 2
    assert not [name for name in saved(job) if name.startswith(".")]
    assert len(steps_in(tmp_path / "note")) > 5, "not every save ends it"
    assert alive(job.sandbox) == []


def test_an_interval_that_has_not_passed_ends_nothing(
    system: BatchSystem, tmp_path: Path
) -> None:
    job = a_walk_in(system, tmp_path / "note", every_s=600.0)
    assert job.run() == 0


def test_a_vacated_job_saves_and_goes_on_elsewhere(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    gate, note = tmp_path / "gate", tmp_path / "note"
    work = bench.call(wander, 5, str(note), 0.0, str(gate), checkpoint={"every_s": 3600.0})
    job = system.job(work, checkpoint_exit=EXIT, checkpoint_every_s=600.0)
    job.start()
    wait_until(lambda: len(steps_in(note)) == 4)
    assert saved(job) == []
    assert job.vacate() == EXIT
    assert len(saved(job)) == 1, "TERM made it save"
    job.keep_checkpoints()
    job.arrive()
    gate.touch()
    assert job.run() == 0
    collected = job.collect()
    assert steps_in(note) == [1, 2, 3, 4, 5]
    assert dict(collected.news)["resumed"][0]["saved"][:2] == [1, 1]


def test_without_checkpoints_term_ends_the_whole_tree_without_a_report(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    work = bench.command("/bin/sh", "-c", f"setsid sleep 99 & touch {mark}; sleep 99")
    job = system.job(work, checkpoint_exit=EXIT)
    job.start()
    wait_until(mark.exists)
    before = time.monotonic()
    assert job.vacate() == TERMINATED
    assert time.monotonic() - before < 5
    assert alive(job.sandbox) == []
    assert list((job.sandbox / "out").iterdir()) == []


def test_what_listens_to_term_may_end_by_itself(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = f"trap 'echo in time; exit 0' TERM; touch {mark}; while :; do sleep 0.05; done"
    work = bench.command("/bin/sh", "-c", script)
    job = system.job(work)
    job.start()
    wait_until(mark.exists)
    assert job.vacate() == 0
    job.collect()
    assert bench.files(work)["stdout"] == b"in time\n"


def test_what_does_not_listen_to_term_is_killed_after_the_grace(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = f"trap '' TERM; touch {mark}; while :; do sleep 0.05; done"
    job = system.job(bench.command("/bin/sh", "-c", script), grace_s=1.0)
    job.start()
    wait_until(mark.exists)
    before = time.monotonic()
    assert job.vacate() == TERMINATED
    assert 1.0 <= time.monotonic() - before < 6.0
    assert alive(job.sandbox) == []


def test_killed_at_once_it_leaves_nothing_running_and_goes_on_from_its_save(
    system: BatchSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    gate = tmp_path / "gate"
    work = system.bench.call(wander, 15, str(note), 0.05, str(gate), checkpoint=ALWAYS)
    job = system.job(work, checkpoint_exit=EXIT, checkpoint_every_s=600.0)
    job.start()
    wait_until(lambda: len(steps_in(note)) >= 10)
    os.kill(job.pid, signal.SIGKILL)
    assert job.end() == -signal.SIGKILL
    wait_until(lambda: alive(job.sandbox) == [])
    taken = len(steps_in(note))
    gate.touch()
    assert job.run() == 0
    again = [each for each in steps_in(note)[taken:] if each <= taken]
    assert len(again) <= 1
    assert job.collect().report["outcome"] == "success"


def test_a_system_that_signals_all_processes_of_a_job(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = system.job(a_walk(bench, note, steps=10_000, pause_s=0.05), checkpoint_exit=EXIT)
    job.start()
    wait_until(lambda: len(steps_in(note)) >= 2)
    everybody = alive(job.sandbox)
    assert len(everybody) == 3, "the job, its runner, its worker"
    terminate_at_once(everybody)
    assert job.end() == EXIT
    assert alive(job.sandbox) == []
    assert list((job.sandbox / "out").iterdir()) == []


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    system: BatchSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = a_walk_in(system, note, every_s=0.0, steps=5, pause_s=3.0)
    assert [job.run(), job.run()] == [EXIT, EXIT]
    task, replica, _ = job.work.attempt
    newest = job.sandbox / "checkpoints" / task / str(replica) / saved(job)[-1]
    next(each for each in newest.iterdir() if each.name != "MANIFEST").write_bytes(b"")
    while (code := job.run()) == EXIT:
        assert not [name for name in saved(job) if name.startswith(".")], "it does not travel"
    assert code == 0
    assert job.collect().report["outcome"] == "success"
    assert steps_in(note) == [1, 2, 2, 3, 4, 5]


def test_the_replicas_newest_checkpoint_travels_with_the_job(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    """Saved by one attempt in the pool, brought home, taken up by the next one there."""
    note = tmp_path / "note"
    job = a_walk_in(system, note, every_s=0.0, steps=4, pause_s=1.0)
    assert job.run() == EXIT
    job.keep_checkpoints()
    entry = job.bring_checkpoint()
    assert entry is not None
    assert (entry["attempt"], entry["sequence"]) == (str(job.work.attempt), 1)
    assert bench.checkpoints(job.work) == ["1-1"]
    assert job.bring_checkpoint() is None, "it is here already"
    successor = system.job(bench.again(job.work))
    assert successor.run() == 0
    assert steps_in(note) == [1, 2, 3, 4]
    kept = successor.packed.source / f"checkpoints/{job.work.attempt.task}/0/1-1/MANIFEST"
    assert kept.samefile(bench.checkpoint(job.work, "1-1") / "MANIFEST"), "a link, no copy"


def test_a_fresh_start_takes_no_checkpoint_along(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    job = a_walk_in(system, tmp_path / "note", every_s=0.0, steps=3, pause_s=3.0)
    assert job.run() == EXIT
    job.keep_checkpoints()
    job.bring_checkpoint()
    fresh = system.job(bench.again(job.work, since=2))
    assert list((fresh.packed.source / "checkpoints").iterdir()) == []


def test_a_command_saves_by_its_own_exit_code_and_is_handed_over(
    bench: Bench, system: BatchSystem
) -> None:
    script = (
        "[ -e here ] && sleep 10; : >here;"  # once more in the same run: it is being ended
        " n=$(cat state 2>/dev/null || echo 0); n=$((n+1)); echo $n >state;"
        " echo line $n; [ $n -lt 4 ] && exit 85; cat state >done"
    )
    wish = {"every_s": 3600.0, "files": ("state",)}
    work = bench.command("/bin/sh", "-c", script, checkpoint=wish, outputs=["done"])
    job = system.job(work, checkpoint_exit=EXIT, checkpoint_every_s=0.0)
    codes = [job.run() for _ in range(3)]
    assert codes == [EXIT] * 3
    assert job.run() == 0
    job.collect()
    assert bench.files(work)["done"] == b"4\n"
    assert bench.files(work)["stdout"] == b"line 1\nline 2\nline 3\nline 4\n", "all of it"


def test_a_system_without_checkpoints_is_told_of_none(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = system.job(a_walk(bench, note, steps=10_000, pause_s=0.01))
    job.start()
    wait_until(lambda: len(steps_in(note)) > 3)
    assert job.vacate() == TERMINATED


def a_counter(bench: Bench, steps: int) -> Launch:
    """A command that saves each step and prints a line."""
    script = (
        "n=$(cat state 2>/dev/null || echo 0); n=$((n+1)); echo line $n; echo $n >state;"
        f" [ $n -lt {steps} ] || exit 0; sleep 0.05; exit 85"
    )
    wish = {"every_s": 3600.0, "files": ("state",)}
    return bench.command("/bin/sh", "-c", script, checkpoint=wish)


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_what_a_vacated_command_had_printed_is_there_in_the_end(
    bench: Bench, system: BatchSystem, tmp_path: Path, is_elsewhere: bool
) -> None:
    """Each line once: what it printed after its last save is printed again by its next start."""
    disk = tmp_path / "disk"
    disk.mkdir()
    env = {"_CONDOR_SCRATCH_DIR": str(disk)} if is_elsewhere else {}
    job = system.job(a_counter(bench, 60), checkpoint_exit=EXIT, checkpoint_every_s=600.0)
    with small_disk(disk) if is_elsewhere else contextlib.nullcontext():
        for _ in range(2):
            before = saved(job)
            job.start(**env)
            wait_until(lambda seen=before: saved(job) and saved(job) != seen)
            assert job.vacate() == EXIT
            job.keep_checkpoints()
            job.arrive()
        assert job.run(**env) == 0
        job.collect()
    printed = bench.files(job.work)["stdout"].decode().splitlines()
    assert printed == [f"line {number}" for number in range(1, 61)]
