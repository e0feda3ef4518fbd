"""Many tasks on several hosts, while something breaks all the time: each ends once, and right.

`SPOOLMW_LOAD=20000 pytest -s --timeout=3000 tests/acceptance/test_ssh_load.py` has eight hosts
with 200 slots together and takes a bit more than ten minutes.
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

from tests.support.daemon import family
from tests.support.grid import Grid, in_haste
from tests.support.lab import Host, needs_hosts
from tests.support.waiting import wait_until

pytestmark = needs_hosts

TASKS = int(os.environ.get("SPOOLMW_LOAD", "400"))
IS_FULL = TASKS >= 5000
HOSTS, SLOTS = (8, 25) if IS_FULL else (3, 4)
LONGEST_S = 12.0 if IS_FULL else 0.2  #: a task; the mean is half of it
PAUSE_S = 5.0 if IS_FULL else 1.0  #: between two faults
AWAY_S = 12.0 if IS_FULL else 3.0  #: a host that is cut off or frozen


def work(number: int, seconds: float) -> tuple[int, bytes]:
    time.sleep(seconds)
    return number * number, bytes(number % 7 * 10_000)


class Faults:
    """Breaks something each time that it is due, and mends it again."""

    def __init__(self, grid: Grid, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self._grid = grid
        self._dice = random.Random(seed)
        self._next_at = time.monotonic() + PAUSE_S
        self._away: list[tuple[float, Host, Callable[[], None]]] = []
        self._bag: list[str] = []

    def turn(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for each in [each for each in self._away if each[0] <= now]:
            self._away.remove(each)
            each[2]()
        if now >= self._next_at:
            self._strike()
            self._next_at = time.monotonic() + self._dice.uniform(0.5, 1.5) * PAUSE_S

    def end(self) -> None:
        """All is mended."""
        for _, _, mend in self._away:
            mend()
        self._away.clear()

    def _strike(self) -> None:
        if not self._bag:  # each once, then again in another order
            self._bag = [
                "sshd",
                "cut",
                "reboot",
                "frozen",
                "runner",
                "keeper",
                "link",
                "daemon",
            ]
            self._dice.shuffle(self._bag)
        kind = self._bag.pop()
        absent = {host.name for _, host, _ in self._away}
        host = self._dice.choice([h for h in self._grid.lab.hosts if h.name not in absent])
        self.seen[kind] += 1
        getattr(self, f"_{kind}")(host)

    def _sshd(self, host: Host) -> None:
        host.restart_sshd()

    def _cut(self, host: Host) -> None:
        host.cut()
        self._away.append((time.monotonic() + AWAY_S, host, host.mend))

    def _frozen(self, host: Host) -> None:
        host.freeze()
        self._away.append((time.monotonic() + AWAY_S, host, host.thaw))

    def _reboot(self, host: Host) -> None:
        host.reboot()

    def _runner(self, host: Host) -> None:
        self._kill(host.pids_of("runner"))

    def _keeper(self, host: Host) -> None:
        self._kill(host.pids_of("keeper"))

    def _link(self, _host: Host) -> None:
        self._kill(
            [
                pid
                for pid in family(self._grid.daemon.pid)
                if b"spoolmw.agents.sshlink" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
        )

    def _daemon(self, _host: Host) -> None:
        self._grid.daemon.kill()
        self._grid.daemon.start()

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_each_of_many_tasks_ends_once_whatever_breaks(tmp_path: Path) -> None:
    env = {} if IS_FULL else in_haste(tmp_path)
    dice = random.Random(1)
    with Grid(tmp_path / "grid", count=HOSTS, slots=SLOTS, give_up="10s", env=env) as grid:
        faults = Faults(grid, 2)
        began = time.monotonic()
        spool = grid.spool.options(retries=5)
        open_ = {n: spool.submit(work, n, dice.uniform(0, LONGEST_S)) for n in range(TASKS)}
        until = began + 60 + 4 * TASKS * LONGEST_S / (HOSTS * SLOTS)
        while open_:
            assert time.monotonic() < until, (len(open_), faults.seen, grid.agents())
            if len(open_) > TASKS / 20:
                faults.turn()
            else:
                faults.end()
            for number in [n for n, task in open_.items() if task.done()]:
                value = open_.pop(number).result(10)
                assert value == (number * number, bytes(number % 7 * 10_000))
            time.sleep(0.1)
        took = time.monotonic() - began
        print(f"{TASKS} tasks in {took:.0f} s, {HOSTS * SLOTS} slots, {dict(faults.seen)}")
        stage = grid.daemon.spool / "stage"
        wait_until(lambda: not list(stage.iterdir()), last=lambda: list(stage.iterdir()))
        grid.wait_for_hosts()
        assert not list((grid.daemon.spool / "results").rglob("*.result")), "taken away once"
