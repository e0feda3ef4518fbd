"""The kill sweep: families of points, each with its own way to be killed, judged by one checker.

A lane is one machine and the thread that works on it; two lanes keep two cores busy.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.crash.checker import Excuse
from tests.crash.consumer import Consumer
from tests.crash.injection import Point, kill, points, spread, trace
from tests.crash.machine import DAEMON, Machine
from tests.support.daemon import family
from tests.support.waiting import wait_until

LANES = 2
#: One job: judges one point; None when the point was not reached.
Job = tuple[str, Callable[[], list[str] | None]]


@dataclass(frozen=True)
class Size:
    """How many points of each family; None: all that there are."""

    daemon: int | None
    first_start: int
    crashes: int  #: first kills whose recovery is swept
    recovery: int | None  #: points in each of these recoveries
    rebuild: int
    client: int | None
    runner: int
    worker: int


FULL = Size(
    daemon=None,
    first_start=24,
    crashes=8,
    recovery=None,
    rebuild=60,
    client=None,
    runner=24,
    worker=12,
)
SAMPLE = Size(
    daemon=13, first_start=2, crashes=2, recovery=3, rebuild=3, client=3, runner=3, worker=3
)


@dataclass
class Summary:
    """What a sweep came to."""

    points: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.points.values())

    def __str__(self) -> str:
        each = ", ".join(f"{number} {family}" for family, number in self.points.items())
        return (
            f"{self.total} points ({each}), {len(self.failures)} failures, {self.seconds:.0f} s"
        )


class Lane:
    """One machine, with the templates that its points begin from."""

    def __init__(self, folder: Path, number: int, daemon: Sequence[str] = DAEMON) -> None:
        self.number = number
        self.machine = Machine(folder / f"lane{number}", daemon)
        self.bare = folder / f"bare{number}"  #: nothing but the configuration
        self.early = folder / f"early{number}"  #: the early part waits in incoming/
        self._empty = folder / f"empty{number}"
        self._folder = folder
        self._seed = number * 1_000_000
        self._make()

    def _make(self) -> None:
        machine = self.machine
        machine.make()
        machine.save(self._empty)
        assert machine.client("early") == 0
        machine.save(self.early)

    def seed(self) -> int:
        self._seed += 1
        return self._seed

    # -- the daemon, in its whole life

    def daemon_points(self) -> list[Point]:
        self.machine.reset(self.early)
        return points(self.machine.traced(late=True), self.machine.spool)

    def daemon(self, found: Sequence[Point]) -> Iterator[Job]:
        for point in found:
            yield f"daemon {point}", partial(self._killed_from, self.early, point, late=True)

    def _killed_from(self, template: Path, point: Point, *, late: bool) -> list[str] | None:
        seed = self.seed()
        self.machine.reset(template)
        with Consumer(self.machine.home, seed) as consumer:
            if self.machine.run(kill(point), late=late) == 0:
                return None
            return self.machine.finish(consumer, twice=seed % 4 == 0)

    # -- its first start, when it makes the spool

    def first_start_points(self) -> list[Point]:
        self.machine.unmake()
        self.machine.save(self.bare)
        return points(self.machine.traced(late=False), self.machine.spool)

    def first_start(self, found: Sequence[Point]) -> Iterator[Job]:
        for point in found:
            yield f"first start {point}", partial(self._first_start, point)

    def _first_start(self, point: Point) -> list[str] | None:
        self.machine.reset(self.bare)
        if self.machine.run(kill(point)) == 0:
            return None
        if status := self.machine.run():
            return [f"the next start ended with {status}: {self.machine.log_tail()}"]
        self.machine.take_name()
        with Consumer(self.machine.home, self.seed()) as consumer:
            return self.machine.finish(consumer)

    # -- the recovery from a kill

    def recovery(self, first: Point, number: int | None) -> Iterator[Job]:
        """Kill at `first`, then kill what recovers from that at every point, or at `number` of them."""
        crashed = self._folder / f"crashed{self.number}"
        self.machine.reset(self.early)
        with Consumer(self.machine.home, self.seed()):
            self.machine.run(kill(first), late=True)
        self.machine.save(crashed)
        found = points(self.machine.traced(late=False), self.machine.spool)
        for point in found if number is None else spread(found, number):
            label = f"recovery from {first} {point}"
            yield label, partial(self._killed_from, crashed, point, late=False)

    # -- the journal, lost after a kill

    def rebuild(self, found: Sequence[Point]) -> Iterator[Job]:
        for point in found:
            yield f"rebuild after {point}", partial(self._rebuilt, point)

    def _rebuilt(self, point: Point) -> list[str] | None:
        self.machine.reset(self.early)
        with Consumer(self.machine.home, self.seed()) as consumer:
            if self.machine.run(kill(point), late=True) == 0:
                return None
            problems = self.machine.rebuild()
            return problems or self.machine.finish(consumer, excused=[Excuse.NEW_JOURNAL])

    # -- the submitting client

    def client_points(self) -> list[Point]:
        self.machine.reset(self._empty)
        return points(self.machine.traced_client(), self.machine.home)

    def client(self, found: Sequence[Point]) -> Iterator[Job]:
        for point in found:
            yield f"client {point}", partial(self._client, point)

    def _client(self, point: Point) -> list[str] | None:
        self.machine.reset(self._empty)
        with Consumer(self.machine.home, self.seed()) as consumer:
            if self.machine.client("early", kill(point)) == 0:
                return None
            return self.machine.finish(consumer, excused=[Excuse.CLIENT_KILLED])

    # -- the runner and the workers

    def runner_points(self) -> list[Point]:
        out = self.machine.home.with_name("runner.trace")
        self.machine.reset(self.early)
        self._beside_runner(trace(out))
        return points(out, self.machine.spool)

    def runner(self, found: Sequence[Point]) -> Iterator[Job]:
        for point in found:
            yield f"runner {point}", partial(self._runner, point)

    def _runner(self, point: Point) -> list[str] | None:
        self.machine.reset(self.early)
        with Consumer(self.machine.home, self.seed()) as consumer:
            status = self._beside_runner(kill(point))
            return self._went_on(status, consumer)

    def _beside_runner(self, strace: Sequence[str]) -> int:
        """Run a daemon with strace at its runner; the daemon's status."""
        tracers: list[subprocess.Popen[bytes]] = []

        def attach(pid: int) -> None:
            [runner, *_] = wait_until(lambda: family(pid))
            tracers.append(
                subprocess.Popen([*strace, "-p", str(runner)], stderr=subprocess.DEVNULL)
            )

        try:
            return self.machine.run(late=True, beside=attach)
        finally:
            for tracer in tracers:
                tracer.terminate()
                tracer.wait()

    def worker(self, number: int) -> Iterator[Job]:
        for nth in range(number):
            yield f"worker #{nth}", self._worker

    def _worker(self) -> list[str] | None:
        """Kill a worker at a random moment. (What it started may die: that is the task's affair.)"""
        chance = random.Random(self.seed())
        killed: list[int] = []

        def strike(pid: int) -> None:
            wait_until(lambda: workers(pid))
            time.sleep(chance.random() * 0.3)  # the moment itself is what varies
            victim = chance.choice(workers(pid) or [0])
            with contextlib.suppress(ProcessLookupError):
                if victim:
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

        self.machine.reset(self.early)
        with Consumer(self.machine.home, self.seed()) as consumer:
            status = self.machine.run(late=True, beside=strike)
            return self._went_on(status, consumer) if killed else None

    def _went_on(self, status: int, consumer: Consumer) -> list[str]:
        """A daemon that lost its runner or a worker goes on by itself."""
        if status:
            return [f"the daemon ended with {status}: {self.machine.log_tail()}"]
        return self.machine.finish(consumer)


def jobs(lane: Lane, size: Size, found: dict[str, list[Point]]) -> Iterator[Job]:
    """What this lane has to do: its share of every family."""

    def mine(name: str, number: int | None) -> list[Point]:
        chosen = found[name] if number is None else spread(found[name], number)
        return chosen[lane.number :: LANES]

    share = [size.worker // LANES, size.worker - size.worker // LANES][lane.number % LANES]
    yield from lane.daemon(mine("daemon", size.daemon))
    yield from lane.first_start(mine("first start", size.first_start))
    for first in mine("daemon", size.crashes):
        yield from lane.recovery(first, size.recovery)
    yield from lane.rebuild(mine("daemon", size.rebuild))
    yield from lane.client(mine("client", size.client))
    yield from lane.runner(mine("runner", size.runner))
    yield from lane.worker(share)


def workers(daemon: int) -> list[int]:
    """The processes that run attempts."""
    found = []
    for pid in family(daemon):
        with contextlib.suppress(OSError):
            if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


class Sweep:
    """Runs all lanes and counts."""

    def __init__(self, folder: Path, size: Size, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._size = size
        self._say = say
        self._lock = threading.Lock()
        self._summary = Summary()

    def run(self) -> Summary:
        began = time.monotonic()
        lanes = [Lane(self._folder, number) for number in range(LANES)]
        first = lanes[0]
        found = {
            "first start": first.first_start_points(),
            "daemon": first.daemon_points(),
            "client": first.client_points(),
            "runner": first.runner_points(),
        }
        for lane in lanes[1:]:
            lane.first_start_points()
        counts = ", ".join(f"{name} {len(several)}" for name, several in found.items())
        self._say(f"calls that change something: {counts}")
        with ThreadPoolExecutor(LANES) as pool:
            for done in [pool.submit(self._work, lane, found) for lane in lanes]:
                done.result()
        self._summary.seconds = time.monotonic() - began
        return self._summary

    def _work(self, lane: Lane, found: dict[str, list[Point]]) -> None:
        for label, job in jobs(lane, self._size, found):
            try:
                problems = job()
            except AssertionError as error:
                problems = [str(error)]
            self._count(label, problems)

    def _count(self, label: str, problems: list[str] | None) -> None:
        if problems is None:
            return
        name = "".join(itertools.takewhile(str.isalpha, label))
        with self._lock:
            counts = self._summary.points
            counts[name] = counts.get(name, 0) + 1
            if problems:
                self._summary.failures.append("\n  ".join([label, *problems]))
                self._say(self._summary.failures[-1])
            if self._summary.total % 25 == 0:
                self._say(
                    f"{self._summary.total} points, {len(self._summary.failures)} failures"
                )
