"""Whatever is killed, and whenever: each task is delivered once, and no attempt is submitted twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from tests.acceptance.test_condor import square
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import family
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool

TASKS = 40
STORM_S = 15.0


def strike(site: Site, chance: random.Random) -> None:
    """Kill something of ours or of HTCondor's."""
    what = chance.choice(["daemon", "link", "condor_starter", "condor_shadow", "condor_schedd"])
    if what == "daemon":
        site.daemon.kill()
        site.daemon.start()
        return
    if what == "link":
        pids = [pid for pid in family(site.daemon.pid) if is_link(pid)]
    else:
        with being_root_again():
            members = [chance.choice(site.pool.hosts), site.pool.schedd]
            pids = [pid for member in members for pid in member.pids_of(what)][:1]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError), being_root_again():
            os.kill(pid, signal.SIGKILL)


def is_link(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"condorlink" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_in_a_storm_of_deaths_every_task_is_delivered_once() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with Pool(hosts=2, cpus=4) as pool, Site(pool) as site:
        spool = site.spool.options(retries=0, agents=["pool"])
        tasks = [spool.submit(square, number) for number in range(TASKS)]
        until = time.monotonic() + STORM_S
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.0, 2.0))
            strike(site, chance)
        values = [task.result(timeout=120)[0] for task in tasks]
        assert values == [number * number for number in range(TASKS)]
        tokens = site.tokens()
        assert sorted(set(tokens)) == tokens
        wait_until(lambda: not site.queue("ClusterId"))
        jobs = site.daemon.spool / "agents" / "pool" / "jobs"
        wait_until(lambda: not list(jobs.iterdir()))
