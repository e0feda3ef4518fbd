"""Resumable loops and scripts with a real daemon: bit for bit what an undisturbed run gives."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spoolmw import Spool, checkpoint
from tests.support.daemon import ROOT, Daemon, end, running, trailer
from tests.support.waiting import wait_until

CONFIG = '[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 2\n'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, config=CONFIG) as daemon:
        yield daemon


def simulate(steps: int, note: str, pause_s: float = 0.0) -> tuple[float, float, float, str]:
    """Work on random numbers of every kind; each step that is done is noted in a file."""
    random.seed(1)
    np.random.seed(2)
    world = {"x": np.zeros(50_000), "rng": np.random.default_rng(3), "own": random.Random(4)}
    x, rng, own = world["x"], world["rng"], world["own"]
    for step in checkpoint.steps(range(steps), state=world):
        x += rng.normal(size=x.size) * own.random()
        x[step] += random.random() + np.random.rand()
        with open(note, "a") as file:
            file.write(f"{step} {os.getpid()}\n")
        time.sleep(pause_s)
    return float(x.sum()), float(rng.random()), own.random(), x.tobytes().hex()[:64]


def noted(note: Path) -> list[int]:
    """The steps that were done, in order."""
    lines = note.read_text().splitlines() if note.exists() else []
    return [int(line.split()[0]) for line in lines]


def until(note: Path, steps: int, daemon: Daemon) -> None:
    """Wait until so many steps are done, some of them maybe twice."""
    wait_until(lambda: len(noted(note)) >= steps, last=daemon.log_text)


def worker(note: Path) -> int:
    """The process that did the last step."""
    return int(note.read_text().splitlines()[-1].split()[1])


def right(steps: int, tmp_path: Path) -> object:
    """What an undisturbed run by hand gives."""
    return simulate(steps, str(tmp_path / "by hand"))


def test_a_task_that_is_killed_again_and_again_gives_the_right_result(
    served: Daemon, tmp_path: Path
) -> None:
    """More often than a task may be lost in a row: each checkpoint starts that count anew."""
    note = tmp_path / "note"
    task = Spool(served.spool).options(checkpoint_every=0).submit(simulate, 60, str(note), 0.02)
    for turn in range(1, 6):
        until(note, turn * 9, served)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker(note), signal.SIGKILL)
    assert task.result(60) == right(60, tmp_path)
    steps = noted(note)
    assert len(steps) - 60 <= 5, "at most the step at hand is done twice for each kill"
    assert sorted(set(steps)) == list(range(60))
    wait_until(lambda: not (served.spool / "checkpoints" / task.id).exists())


def test_a_kill_of_everything_at_once_loses_at_most_the_step_at_hand(
    served: Daemon, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    task = Spool(served.spool).options(checkpoint_every=0).submit(simulate, 40, str(note), 0.02)
    for turn in range(1, 3):
        until(note, turn * 12, served)
        served.kill_everything()
        served.start()
    assert task.result(60) == right(40, tmp_path)
    assert len(noted(note)) - 40 <= 2


def test_a_damaged_checkpoint_is_told_of_and_the_older_one_used(
    served: Daemon, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    task = Spool(served.spool).options(checkpoint_every=0).submit(simulate, 40, str(note), 0.1)
    until(note, 9, served)
    served.kill_everything()
    folder = served.spool / "checkpoints" / task.id / "0"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    newest = max(names, key=lambda name: int(name.split("-")[1]))
    with open(folder / newest / "buffers", "r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    served.start()
    assert task.result(60) == right(40, tmp_path)
    shown = served.ctl("show", task.id).stdout
    assert f"checkpoint {newest} is damaged" in " ".join(shown.split())


def test_the_resumable_script_adds_up_right_though_it_is_killed(served: Daemon) -> None:
    text = (ROOT / "examples" / "drops" / "resumable.sh").read_text()
    served.drop("resumable.sh", text.replace("last=$((", "sleep 0.1; last=$(("))
    checkpoints = served.spool / "checkpoints"
    wait_until(lambda: len(list(checkpoints.glob("*/0/1-*"))) >= 2, last=served.log_text)
    served.kill_everything()
    served.start()
    result = served.result("resumable.sh")
    assert (result.with_suffix(".files") / "stdout").read_text() == "333833500\n"
    told = trailer(result)
    assert told["state"] == "done", told


def test_two_daemons_in_turn_leave_no_half_checkpoint(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config=CONFIG).start()
    try:
        note = tmp_path / "note"
        task = (
            Spool(daemon.spool)
            .options(checkpoint_every=0, checkpoint_keep=True)
            .submit(simulate, 30, str(note), 0.01)
        )
        until(note, 9, daemon)
        daemon.kill_everything()
        daemon.start()
        assert task.result(60) == right(30, tmp_path)
        folder = daemon.spool / "checkpoints" / task.id / "0"
        wait_until(lambda: len(os.listdir(folder)) == 2, last=lambda: os.listdir(folder))
    finally:
        end(daemon)
