"""Python calls that save their progress, on the local agent: killed, told to end, started again."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spoolmw import checkpoint, progress
from spoolmw.agents.local import LocalAgent
from spoolmw.client.taskmap import run_chunk
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Blame, Cause, Outcome, Saved
from spoolmw.model.events import Lost, Reported
from spoolmw.runner import checkpoint as stored
from spoolmw.runner.checkpoint import Owner
from spoolmw.runner.watch import SAVE_GRACE_S
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local
from tests.unit.agents.test_bundle import other_pythons
from tests.unit.agents.test_call_outcomes import pid_in

ALWAYS = {"every_s": 0.0}
NEVER = {"every_s": 3600.0}


def count(until: int, note: str, pause_s: float = 0.0) -> list[int]:
    """Count, saving each time; the numbers that this very attempt counted are noted in a file."""
    numbers: list[int] = checkpoint.load([])
    Path(f"{note}.pid").write_text(str(os.getpid()))
    while len(numbers) < until:
        with open(note, "a") as file:
            file.write(f"{len(numbers)}\n")
        numbers.append(len(numbers))
        checkpoint.save(numbers)
        time.sleep(pause_s)
    return numbers


def noted(note: Path) -> list[int]:
    return list(map(int, note.read_text().split())) if note.exists() else []


def work_of(local: Local, note: Path, pause_s: float = 0.01, **needs: Any) -> Launch:
    """A task that counts to a million: nobody waits for its end."""
    return local.call(count, 1_000_000, str(note), pause_s, **{"checkpoint": ALWAYS, **needs})


def test_a_checkpoint_is_told_of_when_it_stands_whole(shared: Local, tmp_path: Path) -> None:
    work = shared.call(count, 3, str(tmp_path / "note"), checkpoint=ALWAYS)
    shared.run(work)
    told = shared.heard.checkpoints_of(work)
    assert [each.sequence for each in told] == [1, 2, 3]
    owner = Owner(str(shared.root / "checkpoints"), work.attempt.task, 0)
    whole = stored.verify(str(shared.checkpoint(work, "1-3")), owner)
    assert (whole.size_bytes, whole.saved_at) == (told[2].size_bytes, told[2].saved_at)
    last = next(
        at
        for at, each in enumerate(shared.heard.events)
        if each in shared.heard.ends_of(work.attempt)
    )
    assert all(shared.heard.events.index(each) < last for each in told)


def test_progress_is_told(shared: Local) -> None:
    def run() -> None:
        progress(0.25, "first")
        progress(0.5)

    work = shared.call(run)
    shared.run(work)
    assert shared.heard.progress_of(work) == [(0.25, "first"), (0.5, "")]


def test_a_task_that_does_not_save_leaves_nothing(shared: Local) -> None:
    work = shared.call(abs, -1)
    shared.run(work)
    assert shared.checkpoints(work) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_attempts_successor_goes_on_from_its_newest_checkpoint(
    shared: Local, tmp_path: Path, number: int
) -> None:
    note = tmp_path / "note"
    work = work_of(shared, note)
    shared.agent.launch([work])
    shared.heard.checkpoint_of(work, 5)
    os.kill(pid_in(Path(f"{note}.pid")), number)
    shared.heard.end_of(work)
    saved = shared.heard.checkpoints_of(work)[-1]
    begun = len(noted(note))
    successor = shared.again(work)
    shared.agent.launch([successor])
    shared.heard.checkpoint_of(successor, 3)
    shared.agent.stop([successor.attempt])
    resumed = shared.heard.resumption_of(successor)
    assert resumed is not None
    assert resumed.saved is not None
    # What was saved last may have been killed before it could be told of.
    assert resumed.saved.order in [(1, saved.sequence), (1, saved.sequence + 1)]
    numbers = noted(note)
    again = [each for each in numbers[begun:] if each < begun]
    assert len(again) <= 1, "only the step that was at hand is done twice"
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


def test_kill_at_any_moment_leaves_only_whole_checkpoints(local: Local, tmp_path: Path) -> None:
    """States of a megabyte are saved without a pause, so that most kills fall into a save."""

    def save_on(note: str) -> None:
        state = checkpoint.load({"n": 0, "data": b""})
        assert state["data"] == bytes([state["n"] % 256]) * len(state["data"])
        Path(note).write_text(str(os.getpid()))
        while True:
            state["n"] += 1
            state["data"] = bytes([state["n"] % 256]) * 1_000_000
            checkpoint.save(state)

    note = tmp_path / "pid"
    work = local.call(save_on, str(note), checkpoint=ALWAYS)
    owner = Owner(str(local.root / "checkpoints"), work.attempt.task, 0)
    reached: list[tuple[int, int]] = []
    for turn in range(8):
        note.unlink(missing_ok=True)
        local.agent.launch([work])
        pid = pid_in(note)
        time.sleep(0.02 + 0.007 * turn)
        if turn == 2:  # a slow machine may not have come so far before
            wait_until(functools.partial(stored.orders, owner))
        os.kill(pid, signal.SIGKILL)
        assert isinstance(local.heard.end_of(work), Lost)
        names = local.checkpoints(work)
        assert len([name for name in names if name.endswith(".tmp")]) <= 1
        newest, notes = stored.newest(owner, "call")
        assert notes == []
        if newest is not None:
            reached.append(newest.order)
            for order in stored.orders(owner)[2:]:
                stored.verify(str(local.checkpoint(work, f"{order[0]}-{order[1]}")), owner)
        work = local.again(work)
    assert reached == sorted(reached)
    assert len(reached) >= 6


def test_term_saves_at_the_next_occasion_and_ends_the_attempt(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = work_of(local, note, checkpoint=NEVER)
    local.agent.launch([work])
    wait_until(lambda: len(noted(note)) > 3)
    assert local.checkpoints(work) == []
    began = time.monotonic()
    local.agent.close(10.0)
    assert time.monotonic() - began < 9.5, "it ended at once, not at the end of the grace"
    end = local.heard.end_of(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.counts) == (Cause.SHUTDOWN, False)
    [saved] = local.heard.checkpoints_of(work)
    assert local.checkpoints(work) == ["1-1"]
    assert saved.at <= end.at
    agent = Local(local.root)
    try:
        successor = agent.again(work)
        begun = len(noted(note))
        agent.agent.launch([successor])
        wait_until(lambda: len(noted(note)) > begun)
        assert noted(note)[begun] == begun, "nothing is done twice"
    finally:
        agent.agent.close(0.0)


def test_a_hold_saves_before_the_attempt_ends(local: Local, tmp_path: Path) -> None:
    note = tmp_path / "note"
    work = work_of(local, note, checkpoint=NEVER)
    local.agent.launch([work])
    wait_until(lambda: len(noted(note)) > 3)
    local.agent.stop([work.attempt])
    successor = local.again(work)
    local.agent.launch([successor])
    wait_until(lambda: local.heard.resumption_of(successor) is not None)
    wait_until(lambda: noted(note)[-1] == len(noted(note)) - 1)
    assert local.heard.ends_of(work.attempt) == []
    local.agent.stop([successor.attempt])


def saved_once_and_sleeps(note: str) -> None:
    checkpoint.save("so far")
    Path(note).write_text("slept\n")
    time.sleep(3600)


def test_who_cancels_does_not_wait_for_a_save_that_never_comes(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = local.call(saved_once_and_sleeps, str(note), checkpoint=NEVER)
    local.agent.launch([work])
    wait_until(note.exists)
    local.agent.stop([work.attempt], is_wanted=False)
    local.agent.launch([local.again(work)])
    note.unlink()
    wait_until(note.exists, timeout_s=SAVE_GRACE_S - 5)  # its successor starts when it is gone


def test_a_time_limit_lets_it_save_and_then_fails_it(local: Local, tmp_path: Path) -> None:
    work = work_of(local, tmp_path / "note", checkpoint=NEVER, time_s=3.0)
    end = local.run(work)
    assert isinstance(end, Reported)
    assert (end.outcome, end.cause, end.blame) == (Outcome.ERROR, Cause.TIMEOUT, Blame.TASK)
    assert local.checkpoints(work) == ["1-1"]


def test_a_task_that_never_saves_ends_at_term_as_before(local: Local, tmp_path: Path) -> None:
    def idle(note: str) -> None:
        Path(note).touch()
        time.sleep(60)

    work = local.call(idle, str(tmp_path / "note"))
    local.agent.launch([work])
    wait_until((tmp_path / "note").exists)
    began = time.time()
    local.agent.close(8.0)
    end = local.heard.end_of(work)
    assert isinstance(end, Lost)
    assert end.at - began < 8.0
    assert end.cause is Cause.SHUTDOWN
    assert local.checkpoints(work) == []


def test_a_task_with_its_own_handler_keeps_it(shared: Local) -> None:
    def run() -> bool:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        checkpoint.load(None)
        return signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    work = shared.call(run)
    shared.run(work)
    assert shared.value(work)


def pooled(note: str) -> None:
    """Count with a pool of processes, which is ended by TERM in the middle of the task."""
    numbers: list[int] = checkpoint.load([])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(abs, range(10))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        while True:
            numbers.append(sum(pool.map(abs, [1] * len(numbers))))
            Path(note).write_text(str(len(numbers)))
            checkpoint.save(numbers)
            time.sleep(0.01)


def test_the_processes_of_a_pool_end_by_term_but_not_before_the_task_has_saved(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = local.call(pooled, str(note), checkpoint=NEVER)
    local.agent.launch([work])
    wait_until(lambda: note.exists() and int(note.read_text() or "0") > 3)
    began = time.monotonic()
    local.agent.close(10.0)
    assert time.monotonic() - began < 9.5
    assert local.checkpoints(work) == ["1-1"]
    assert local.heard.end_of(work).cause is Cause.SHUTDOWN


def test_the_calls_of_a_chunk_share_no_checkpoint(shared: Local) -> None:
    def run(start: int) -> int:
        number = checkpoint.load(start) + 1
        checkpoint.save(number)
        progress(0.5, "half")
        return number

    work = shared.call(run_chunk, run, [(10,), (20,)], checkpoint=ALWAYS)
    shared.run(work)
    assert shared.value(work) == [11, 21]
    assert shared.checkpoints(work) == []
    assert shared.heard.progress_of(work) == [(0.25, "half"), (0.75, "half")]


def test_the_next_attempt_of_a_worker_has_plain_term_again(shared: Local) -> None:
    def save() -> int:
        checkpoint.save(1)
        return os.getpid()

    def look() -> tuple[int, bool]:
        return os.getpid(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    for _ in range(3):  # whichever worker has it
        shared.run(shared.call(save))
        work = shared.call(look)
        shared.run(work)
        assert shared.value(work)[1]


def test_a_damaged_checkpoint_is_told_of_and_the_older_one_used(
    shared: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = shared.call(count, 3, str(note), checkpoint=ALWAYS)
    shared.run(work)
    damaged = shared.checkpoint(work, "1-3") / "state.pickle"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
    again = shared.again(work)
    shared.run(again)
    resumed = shared.heard.resumption_of(again)
    assert resumed is not None
    assert isinstance(resumed.saved, Saved)
    assert resumed.saved.order == (1, 2)
    assert resumed.message == (
        "checkpoint 1-3 is damaged: state.pickle has another digest than the manifest says"
    )
    assert shared.value(again) == [0, 1, 2]


def test_after_a_fresh_retry_nothing_older_is_used(shared: Local, tmp_path: Path) -> None:
    work = shared.call(count, 2, str(tmp_path / "note"), checkpoint=ALWAYS)
    shared.run(work)
    again = shared.again(work, since=2)
    shared.run(again)
    assert shared.heard.resumption_of(again) is None
    assert noted(tmp_path / "note") == [0, 1, 0, 1]


def test_two_tasks_never_share_a_checkpoint(shared: Local, tmp_path: Path) -> None:
    for name in ("one", "two"):
        work = shared.call(count, 2, str(tmp_path / name), checkpoint=ALWAYS)
        shared.run(work)
        assert noted(tmp_path / name) == [0, 1]


def test_a_state_larger_than_the_output_limit_is_saved(shared: Local) -> None:
    def run() -> None:
        checkpoint.save(b"x" * 3_000_000)

    work = shared.call(run, output=1_000_000, checkpoint=ALWAYS)
    assert shared.run(work).cause is Cause.FINISHED
    assert shared.heard.checkpoints_of(work)[0].size_bytes > 3_000_000


class OwnState:
    """A class of the caller's own, which travels by value."""

    def __init__(self) -> None:
        self.steps = 0


def test_a_class_of_ones_own_is_itself_again_after_a_restart(shared: Local) -> None:
    def run(until: int) -> tuple[int, bool]:
        state = checkpoint.load(OwnState())
        while state.steps < until:
            state.steps += 1
            checkpoint.save(state)
            if state.steps == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return state.steps, isinstance(state, OwnState)

    work = shared.call(run, 5, checkpoint=ALWAYS)
    shared.run(work)
    again = shared.again(work)
    shared.run(again)
    assert shared.value(again) == (5, True)


def bare_pythons(tmp_path: Path) -> list[tuple[str, str]]:
    """Pythons that have no spoolmw: a new virtual environment, and other versions found here."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True
    )
    version = "{}.{}".format(*sys.version_info)
    bare = (version, str(tmp_path / "bare" / "bin" / "python"))
    others = []
    for each in other_pythons():
        asked = [each[1], "-I", "-c", "import spoolmw"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            others.append(each)
    return [bare, *others]


def test_a_python_without_spoolmw_can_save_too(local: Local, tmp_path: Path) -> None:
    for version, path in bare_pythons(tmp_path):
        needs = {"interpreter": path, "python": version, "checkpoint": ALWAYS}
        work = local.call(checkpoint.save, {"n": 7}, **needs)
        assert local.run(work).cause is Cause.FINISHED, local.result(work).header
        assert local.checkpoints(work) == ["1-1"], version
        again = local.again(work)
        body = local.call(checkpoint.load, 0, **needs)
        target = local.root / again.path
        target.write_bytes((local.root / body.path).read_bytes())
        local.run(again)
        assert local.value(again) == {"n": 7}, version
        told = local.call(progress, 0.5, "half", **needs)
        local.run(told)
        assert local.heard.progress_of(told) == [(0.5, "half")], version


def test_leftover_halves_go_when_the_next_attempt_begins(local: Local, tmp_path: Path) -> None:
    work = local.call(count, 1, str(tmp_path / "note"), checkpoint=ALWAYS)
    half = local.checkpoint(work, ".1-1.tmp")
    half.mkdir(parents=True)
    (half / "state.pickle").write_bytes(b"half")
    local.run(local.again(work))
    assert local.checkpoints(work) == ["2-1"]


def test_a_runner_that_is_killed_loses_nothing_that_was_saved(
    local: Local, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    work = work_of(local, note)
    local.agent.launch([work])
    local.heard.checkpoint_of(work, 3)
    assert isinstance(local.agent, LocalAgent)
    assert local.agent._runner is not None
    local.agent._runner.kill()
    end = local.heard.end_of(work)
    assert isinstance(end, Lost)
    begun = noted(note)
    successor = local.again(work)
    with contextlib.suppress(Exception):
        local.agent.launch([successor])
    wait_until(lambda: len(noted(note)) > len(begun))
    assert noted(note)[len(begun)] >= len(begun) - 1
