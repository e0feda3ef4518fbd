"""Whatever dies on a host at whatever moment, each task ends once, with the right bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from spoolmw.model.agent import Launch
from tests.keeper.work import slow
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, Line, kill, names
from tests.support.waiting import wait_until

TASKS = int(os.environ.get("SPOOLMW_DEATHS", "60"))
AT_ONCE = 16
SIZES = (0, 10, 1000, 70_000, 300_000)


class Home:
    """What a daemon does, as short as can be: launch, take reports, launch again what was lost."""

    def __init__(self, host: FarHost, bench: Bench) -> None:
        self.host = host
        self.todo = [
            bench.call(slow, SIZES[number % 5], 0.02 * (number % 7)) for number in range(TASKS)
        ]
        self.given: dict[str, Launch] = {}
        self.ended: dict[str, int] = {}
        self.losses = 0
        self._bench = bench
        self._line: Line | None = None

    def turn(self) -> None:
        line = self._line
        if line is None or line.is_closed:
            self._line = line = self._attach()
            if line is None:
                return
        free = AT_ONCE - len(self.given)
        part, self.todo = self.todo[:free], self.todo[free:]
        self.given |= {str(each.attempt): each for each in part}
        if part:
            line.try_to(lambda: line.launch(self._bench.root, *part))
        line.listen(0.02)
        self._hear(line)

    def _attach(self) -> Line | None:
        line = self.host.attach()
        try:
            hello = line.set_up()
            line.until("told", keep=True)
        except AssertionError:  # it was killed meanwhile
            line.close()
            return None
        known = {*hello["live"], *hello["outbox"]}
        self._hear(line)
        for name in [each for each in self.given if each not in known]:
            self._lost(name)
        return line

    def _hear(self, line: Line) -> None:
        for name, (report, body) in line.reports().items():
            line.try_to(lambda name=name: line.say("release", attempts=[name]))
            work = self.given.get(name)
            if work is None:
                continue  # released before, but the keeper died with that
            if report["outcome"] == "success":
                self._take(work, report, body)
            else:
                assert report["blame"] != "task", report
                self._lost(name)
        line.events.clear()

    def _take(self, work: Launch, report: dict[str, object], body: bytes) -> None:
        assert hashlib.sha256(body).hexdigest() == report["digest"]
        self.ended[work.attempt.task] = self.ended.get(work.attempt.task, 0) + 1
        self._bench.staged(work).write_bytes(body)
        assert set(self._bench.value(work)) <= set(b"x")
        del self.given[str(work.attempt)]

    def _lost(self, name: str) -> None:
        self.losses += 1
        self.todo.append(self._bench.again(self.given.pop(name)))


def strokes(host: FarHost, dice: random.Random) -> Iterator[str]:
    """Kill something each time that this is asked."""
    while True:
        verb = dice.choice(["attach", "keeper", "runner", "worker", "all", "frozen"])
        if verb == "all":
            host.reboot()
        elif verb == "frozen":
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for each in ("keeper", "runner", "worker"):
                    for pid in host.processes(each):
                        kill(pid, number)
                time.sleep(0.1)
        else:
            for pid in host.processes(verb)[:1]:
                kill(pid)
        yield verb


@pytest.mark.parametrize("seed", [1, 2])
def test_each_task_ends_once_whatever_dies(host: FarHost, bench: Bench, seed: int) -> None:
    dice = random.Random(seed)
    home = Home(host, bench)
    deaths = strokes(host, dice)
    seen: list[str] = []
    next_at = time.monotonic() + 0.5
    until = time.monotonic() + 240 + TASKS
    while len(home.ended) < TASKS:
        assert time.monotonic() < until, (len(home.ended), home.given.keys(), seen)
        home.turn()
        if time.monotonic() > next_at and len(home.ended) < TASKS * 0.9:
            seen.append(next(deaths))
            next_at = time.monotonic() + dice.uniform(0.05, 0.8)
    assert set(home.ended.values()) == {1}
    assert len(seen) >= 3
    # What died with the last stroke is told, and released, once more.
    wait_until(lambda: home.turn() or not host.listed("stage"))
    assert names(home.todo) == []
