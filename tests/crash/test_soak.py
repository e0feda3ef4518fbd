"""A daemon that is struck down again and again while thousands of tasks come in and results are taken."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolmw.format.resultfile import read
from spoolmw.runner import safe
from tests.crash import soak, workload
from tests.crash.checker import run_problems
from tests.crash.consumer import Consumer
from tests.crash.machine import CONFIG
from tests.support.daemon import ROOT, Daemon, end
from tests.support.waiting import wait_until

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
TASKS, STRIKES = (20_000, 60) if IS_FULL else (1_000, 4)
LONGEST_PEACE_S = 1.0

WAYS: dict[str, Callable[[Daemon], object]] = {
    "the daemon alone": Daemon.kill,
    "everything": Daemon.kill_everything,
    "by a stop in order": Daemon.stop,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_task_is_delivered_once_however_often_the_daemon_is_struck_down(
    ground: Path, way: str
) -> None:
    chance = random.Random(way)
    (ground / workload.LOCKS).mkdir()
    daemon = Daemon(ground, config=CONFIG).start()
    try:
        with Consumer(ground, seed=len(way)) as consumer, submitting(ground) as client:
            for _ in range(STRIKES):
                time.sleep(chance.random() * LONGEST_PEACE_S)  # the moment is what varies
                WAYS[way](daemon)
                daemon.start(wait=chance.random() < 0.5)
            assert client.wait() == 0
            acks = dict(line.split() for line in (ground / soak.ACKS).read_text().splitlines())
            wait_until(
                lambda: len({path.name for path in results(ground)}) >= len(acks),
                timeout_s=120,
                last=daemon.log_text,
            )
            wait_until(daemon.is_ready)
            assert daemon.stop() == 0
    finally:
        end(daemon)
    delivered = [read(path) for path in results(ground)]
    ids = Counter(str(result.header["task"]) for result in delivered)
    assert ids == Counter(acks.keys())
    values = {
        str(result.header["task"]): str(safe.loads(bytes(result.value))) for result in delivered
    }
    assert values == acks
    assert consumer.complaints + consumer.changed() + run_problems(ground) == []
    for folder in ("stage", "active", "rejected", "incoming"):
        assert [path for path in (ground / "spool" / folder).rglob("*") if path.is_file()] == []


def submitting(home: Path) -> subprocess.Popen[bytes]:
    """The client, at work."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.soak", str(home), str(TASKS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def results(home: Path) -> list[Path]:
    """Every result, wherever it lies now."""
    return [*(home / "spool" / "results").glob("*.result"), *(home / "taken").glob("*.result")]
