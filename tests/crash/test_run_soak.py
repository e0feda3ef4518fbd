"""One long task that is killed again and again, alone or with what is above it: the right result.

How much work was done twice is the figure that is printed (with `-s`, and by `make crash`).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw import Spool, checkpoint
from tests.crash.machine import CONFIG
from tests.crash.sweep import workers
from tests.support.daemon import Daemon, end, family
from tests.support.waiting import wait_until

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
STEPS, KILLS = (2_000, 50) if IS_FULL else (300, 6)
PAUSE_S = 0.02  #: what a step takes
EVERY_S = 0.2  #: between two saves: so ten steps are lost at most, and the one at hand
LONGEST_PEACE_S = 0.6


def walk(steps: int, note: str, pause_s: float) -> list[float]:
    """A random walk in a loop that saves by itself; notes every step that is really done."""
    way = [0.0]
    chance = random.Random(17)
    for step in checkpoint.steps(range(steps), state={"way": way, "chance": chance}):
        way.append(way[-1] + chance.gauss(0, 1))
        with open(note, "a", encoding="ascii") as file:
            file.write(f"{step}\n")
        time.sleep(pause_s)
    return way


def undisturbed() -> list[float]:
    way, chance = [0.0], random.Random(17)
    for _ in range(STEPS):
        way.append(way[-1] + chance.gauss(0, 1))
    return way


def steps_done(note: Path) -> list[int]:
    return list(map(int, note.read_text("ascii").split())) if note.exists() else []


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_worker(daemon: Daemon) -> None:
    kill(*workers(daemon.pid))


def kill_runner(daemon: Daemon) -> None:
    kill(*(pid for pid in family(daemon.pid) if family(pid)))


def kill_daemon(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def kill_all(daemon: Daemon) -> None:
    daemon.kill_everything()
    daemon.start()


WAYS: dict[str, Callable[[Daemon], None]] = {
    "worker": kill_worker,
    "runner": kill_runner,
    "daemon": kill_daemon,
    "all": kill_all,
}


@pytest.mark.timeout(1800 if IS_FULL else 300)
def test_a_task_of_many_steps_survives_kills_at_random_moments(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(STEPS)
    note = ground / "note"
    daemon = Daemon(ground, config=CONFIG).start()
    ways = Counter[str]()
    try:
        spool = Spool(daemon.spool).options(checkpoint_every=EVERY_S)
        task = spool.submit(walk, STEPS, str(note), PAUSE_S)
        for number in range(KILLS):
            reached = (number + 1) * STEPS // (KILLS + 1)
            wait_until(
                lambda reached=reached: max(steps_done(note), default=0) >= reached,
                timeout_s=120,
                last=daemon.log_text,
            )
            time.sleep(chance.random() * LONGEST_PEACE_S)  # the moment is what varies
            way = chance.choice(sorted(WAYS))
            ways[way] += 1
            WAYS[way](daemon)
        assert task.result(300) == undisturbed()
        daemon.stop()
    finally:
        end(daemon)
    done = steps_done(note)
    assert sorted(set(done)) == list(range(STEPS))
    twice = len(done) - STEPS
    with capsys.disabled():
        print(
            f"\nsoak: {STEPS} steps, {KILLS} kills ({dict(ways)}): {twice} steps done twice,"
            f" {100 * twice / STEPS:.1f} %, {twice / KILLS:.1f} for each kill"
        )
    assert twice <= KILLS * (EVERY_S / PAUSE_S + 2)
