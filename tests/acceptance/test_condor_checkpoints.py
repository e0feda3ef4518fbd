"""Long tasks in a pool of HTCondor: they go on from what they saved, there or anywhere else."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import checkpoint
from spoolmw.client.future import SpoolTask
from tests.acceptance.test_condor_load import is_link
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import family
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool

STEPS = 200
A_FEW = 3  #: steps that may have begun while the one before was handed over
LOCAL = '[agents.local]\nslots = 1\nmachine = "here"\n'
ELSEWHERE = "isUndefined(MY.LastRemoteHost) || !regexp(TARGET.Machine, MY.LastRemoteHost)"


def walk(steps: int, note: str, hurry: str) -> tuple[float, str]:
    """A random walk that saves after each step; notes every step that is really done, and where.

    It is slow until there is a file `hurry`.
    """
    state = checkpoint.load({"step": 0, "sum": 0.1, "rng": random.Random(7).getstate()})
    rng = random.Random()
    rng.setstate(state["rng"])
    while state["step"] < steps:
        if note:
            with open(note, "a", encoding="ascii") as file:
                file.write(f"{state['step']} {os.uname().nodename}\n")
        total = state["sum"] * 1.01 + rng.gauss(0, 1)
        state = {"step": state["step"] + 1, "sum": total, "rng": rng.getstate()}
        checkpoint.save(state)
        time.sleep(0.0 if Path(hurry).exists() else 0.1)
    return state["sum"], os.uname().nodename


class Walk:
    """A walk as a task of a site, and what can be seen of it."""

    def __init__(self, site: Site, **options: object) -> None:
        self._site = site
        self._note = site.shared / f"{site.daemon.home.name}-steps"
        self._hurry = site.shared / f"{site.daemon.home.name}-hurry"
        spool = site.spool.options(checkpoint_every=0, retries=0, **options)  # type: ignore[arg-type]
        self.task: SpoolTask = spool.submit(walk, STEPS, str(self._note), str(self._hurry))

    def lines(self) -> list[list[str]]:
        return list(map(str.split, self._note.read_text().splitlines()))

    def until_step(self, number: int) -> str:
        """The host where it was done."""
        wait_until(
            lambda: self._note.exists() and any(int(s) >= number for s, _ in self.lines()),
            last=self._site.daemon.log_text,
        )
        return self.lines()[-1][1]

    @property
    def saved(self) -> Path:
        """Where what it saved is in the spool."""
        return self._site.daemon.spool / "checkpoints" / self.task.id / "0"

    def until_it_is_saved(self) -> None:
        """A checkpoint of it is in the spool."""
        wait_until(
            lambda: (
                self.saved.is_dir() and [p for p in self.saved.iterdir() if p.name[0] != "."]
            ),
            last=self._site.daemon.log_text,
        )

    def job(self) -> str:
        [[cluster, proc]] = self._site.queue("ClusterId", "ProcId")
        return f"{cluster}.{proc}"

    def ends_right(self) -> int:
        """Wait for its end; how many steps were done more than once."""
        self._hurry.touch()
        value, _ = self.task.result(timeout=90)
        assert value.hex() == walk(STEPS, "", "/")[0].hex(), "bit for bit"
        done = [int(step) for step, _ in self.lines()]
        assert sorted(set(done)) == list(range(STEPS)), "no step is left out"
        return len(done) - STEPS

    def hosts(self) -> list[str]:
        """Where its steps were done, in order."""
        return list(dict.fromkeys(host for _, host in self.lines()))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A manager, a schedd and two execute hosts."""
    with Pool(hosts=2) as made:
        yield made


def forgotten(site: Site) -> None:
    """Nothing of its jobs is left in the queue."""
    wait_until(lambda: not site.queue("ClusterId"), last=site.daemon.log_text)


# -- in the pool


def test_a_vacated_task_goes_on_on_another_host_without_losing_a_step(pool: Pool) -> None:
    with Site(pool, name="vacated", lines=f"requirements = '{ELSEWHERE}'") as site:
        task = Walk(site)
        first = task.until_step(8)
        site.run("condor_vacate_job", task.job())
        task.until_it_is_saved()  # though it is not over in the pool
        assert task.ends_right() == 0
        assert task.hosts() == [first, ({"host1", "host2"} - {first}).pop()]
        [only] = site.attempts(task.task.id)
        assert only["outcome"] == "success"


@pytest.mark.parametrize("verb", ["condor_rm", "condor_hold"])
def test_after_a_hand_took_its_job_the_next_attempt_goes_on(pool: Pool, verb: str) -> None:
    with Site(pool, name=f"by-hand-{verb}") as site:
        task = Walk(site)
        task.until_step(8)
        site.run(verb, task.job())
        wait_until(lambda: site.attempts(task.task.id), last=site.daemon.log_text)
        assert task.ends_right() == 0
        first, second = site.attempts(task.task.id)
        assert (first["outcome"], second["outcome"]) == ("lost", "success")
        forgotten(site)


def test_what_a_user_holds_goes_on_when_it_is_released(pool: Pool) -> None:
    with Site(pool, name="held") as site:
        task = Walk(site)
        task.until_step(8)
        site.daemon.ctl("hold", task.task.id)
        task.until_it_is_saved()
        forgotten(site)
        site.daemon.ctl("release", task.task.id)
        assert task.ends_right() == 0


def test_what_was_removed_while_nobody_looked_goes_on(pool: Pool) -> None:
    with Site(pool, name="unseen") as site:
        task = Walk(site)
        task.until_step(8)
        site.daemon.kill()
        site.run("condor_rm", task.job())
        wait_until(lambda: site.queue("JobStatus", "CurrentHosts") == [["3", "0"]])
        site.daemon.start()
        assert task.ends_right() == 0
        forgotten(site)


def test_a_checkpoint_that_comes_damaged_is_refused_and_the_one_before_it_counts(
    pool: Pool,
) -> None:
    with Site(pool, name="damaged") as site:
        task = Walk(site)
        task.until_step(8)
        [link] = [pid for pid in family(site.daemon.pid) if is_link(pid)]
        os.kill(link, signal.SIGSTOP)
        site.run("condor_rm", task.job())
        wait_until(lambda: site.queue("JobStatus", "CurrentHosts") == [["3", "0"]])
        kept = (pool.schedd.folder / "spool").rglob(
            f"checkpoints/{task.task.id}/0/1-*/MANIFEST"
        )
        newest = max(kept, key=lambda each: int(each.parent.name[2:])).parent
        spoil(newest)
        os.kill(link, signal.SIGCONT)
        assert task.ends_right() == 1
        forgotten(site)


def spoil(folder: Path) -> None:
    [data] = [each for each in folder.iterdir() if each.name != "MANIFEST"]
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


# -- when there is no pool any more


SHORT = 'give_up = "2s"\ncheckpoint_every = "1s"\npoll = "1s"'


def test_when_the_pool_closes_in_order_a_task_ends_on_local_cores() -> None:
    with Pool(hosts=2) as pool, Site(pool, more=SHORT, others=LOCAL) as site:
        site.daemon.ctl("pause", "local")
        task = Walk(site)
        task.until_it_is_saved()  # while it runs
        with being_root_again():
            for each in (*pool.hosts, pool.schedd, pool.manager):
                each.stop()
        site.daemon.ctl("resume", "local")
        assert task.ends_right() <= A_FEW
        went_from_the_pool_to_local_cores(site, task)


def test_when_all_of_the_pool_dies_while_nobody_looks_what_its_schedd_had_is_found() -> None:
    # The time runs from the daemon's start: what its link looks for first must fit in.
    more = SHORT.replace('"2s"', '"15s"')
    with Pool(hosts=1) as pool, Site(pool, more=more, others=LOCAL) as site:
        site.daemon.ctl("pause", "local")
        task = Walk(site)
        task.until_it_is_saved()
        site.daemon.kill()
        task.until_step(len(task.lines()) + 25)
        with being_root_again():
            for each in pool.members:
                each.kill()
        site.daemon.start()
        site.daemon.ctl("resume", "local")
        assert task.ends_right() < 20
        went_from_the_pool_to_local_cores(site, task)


def went_from_the_pool_to_local_cores(site: Site, task: Walk) -> None:
    first, second = site.attempts(task.task.id)
    assert (first["outcome"], first["agent"]) == ("lost", "pool")
    assert (second["outcome"], second["agent"]) == ("success", "local")


# -- other ways to a pool


def test_from_a_schedd_elsewhere_what_was_saved_comes_too() -> None:
    with Pool(hosts=1) as pool, Site(pool, is_remote=True, more=SHORT) as site:
        task = Walk(site)
        task.until_it_is_saved()
        site.run("condor_rm", task.job())
        assert task.ends_right() <= A_FEW
        forgotten(site)


def test_where_all_see_the_spool_what_was_saved_is_there() -> None:
    more = 'shared_files = true\npoll = "1s"'
    with Pool(hosts=1, shares_files=True) as pool, Site(pool, more=more) as site:
        task = Walk(site)
        task.until_it_is_saved()
        site.run("condor_rm", task.job())
        assert task.ends_right() == 0
