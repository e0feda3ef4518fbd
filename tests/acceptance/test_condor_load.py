"""Many tasks in a pool while something breaks all the time: each is delivered once, no retry is used.

`SPOOLMW_LOAD=200 pytest -s --timeout=900 tests/acceptance/test_condor_load.py` is the long version.
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

from spoolmw.client.future import SpoolTask
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import family
from tests.support.pool import Pool
from tests.support.poolmember import Member
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool

TASKS = int(os.environ.get("SPOOLMW_LOAD", "60"))
PAUSE_S = 3.0 if TASKS < 100 else 5.0  #: between two faults, in the mean
FROZEN_S = 20.0  #: a host, longer than it takes to be noticed
DEAD_S = 3.0  #: a host


def work(number: int, note: str, seconds: float) -> int:
    with open(note, "a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return number * number


class Faults:
    """Breaks something each time that it is due, each kind once before one comes again."""

    def __init__(self, site: Site, dice: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        self._site = site
        self._dice = dice
        self._kinds: list[str] = []
        self._due = time.monotonic() + PAUSE_S
        self._away: list[tuple[float, Member, Callable[[], object]]] = []

    def turn(self) -> None:
        """Do what is due."""
        for each in [each for each in self._away if each[0] <= time.monotonic()]:
            self._away.remove(each)
            with being_root_again():
                each[2]()
        if time.monotonic() >= self._due:
            self._kinds = self._kinds or self._dice.sample(KINDS, len(KINDS))
            kind = self._kinds.pop()
            self.seen[kind] += 1
            getattr(self, f"_{kind}")()
            self._due = time.monotonic() + self._dice.uniform(0.5, 1.5) * PAUSE_S

    def end(self) -> None:
        """All is mended."""
        for _, _, mend in self._away:
            with being_root_again():
                mend()
        self._away.clear()

    def _host(self) -> Member:
        """One that is there."""
        away = [each[1] for each in self._away]
        return self._dice.choice([h for h in self._site.pool.hosts if h not in away])

    def _starter(self) -> None:
        self._kill(self._host().pids_of("condor_starter")[:1])

    def _shadow(self) -> None:
        self._kill(self._site.pool.schedd.pids_of("condor_shadow")[:1])

    def _link(self) -> None:
        self._kill([pid for pid in family(self._site.daemon.pid) if is_link(pid)])

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError), being_root_again():
                os.kill(pid, signal.SIGKILL)

    def _killed(self) -> None:
        host = self._host()
        with being_root_again():
            host.kill()
        self._away.append((time.monotonic() + DEAD_S, host, host.start))

    def _frozen(self) -> None:
        host = self._host()
        with being_root_again():
            host.freeze()
        self._away.append((time.monotonic() + FROZEN_S, host, host.thaw))

    def _schedd(self) -> None:
        with being_root_again():
            self._site.pool.schedd.signal("condor_schedd", signal.SIGKILL)

    def _daemon(self) -> None:
        self._site.daemon.kill()
        self._site.daemon.start()


def is_link(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"condorlink" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


KINDS = ["starter", "shadow", "killed", "frozen", "schedd", "daemon", "link"]


def until_all_ended(site: Site, faults: Faults, open_: dict[int, SpoolTask]) -> None:
    """Break what is due until nearly all have ended; each value is taken once, and right."""
    until = time.monotonic() + 60 + 3 * TASKS
    enough = len(KINDS) if TASKS < 100 else 3 * len(KINDS)
    while open_:
        assert time.monotonic() < until, (len(open_), faults.seen, site.agent())
        if sum(faults.seen.values()) < enough or len(open_) > TASKS / 10:
            faults.turn()
        else:
            faults.end()
        for number in [each for each, task in open_.items() if task.done()]:
            assert open_.pop(number).result(10) == number * number
        time.sleep(0.1)
    faults.end()


def test_each_of_many_tasks_is_delivered_once_whatever_breaks() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    more = 'silent = "12s"\npoll = "2s"'
    lines = '"MY.JobLeaseDuration" = 4'
    with Pool(hosts=3, cpus=4) as pool, Site(pool, more=more, lines=lines) as site:
        faults = Faults(site, dice)
        began = time.monotonic()
        spool = site.spool.options(retries=0, agents=["pool"])
        note = site.shared / "begun"
        open_ = {
            number: spool.submit(work, number, str(note), dice.uniform(0.0, 2.0))
            for number in range(TASKS)
        }
        ids = [task.id for task in open_.values()]
        until_all_ended(site, faults, open_)
        took_s = time.monotonic() - began
        begun = Counter(note.read_text().split())
        attempts = [len(each["attempts"]) for each in site.daemon.ctl_json("show", *ids)]  # type: ignore[arg-type]
        print(
            f"{TASKS} tasks in {took_s:.0f} s, {dict(faults.seen)}, begun {begun.total()} times,"
            f" {sum(attempts)} attempts, the most of a task {max(attempts)}"
        )
        assert set(begun) == {str(number) for number in range(TASKS)}
        assert not list((site.daemon.spool / "results").rglob("*.result")), "taken away once"
        tokens = site.tokens()
        assert sorted(set(tokens)) == tokens, "an attempt was submitted twice"
        wait_until(lambda: not list((site.daemon.spool / "stage").iterdir()))
        wait_until(lambda: not site.queue("ClusterId"))
        jobs = site.daemon.spool / "agents" / "pool" / "jobs"
        wait_until(lambda: not list(jobs.iterdir()), last=lambda: list(jobs.iterdir()))
