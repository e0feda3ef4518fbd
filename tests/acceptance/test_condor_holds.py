"""Jobs that a real pool holds: for what they use too much of, and for what is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from spoolmw.errors import TaskFailed
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.pilots import hold
from tests.support.pool import Pool
from tests.support.poolpilots import PilotSite
from tests.support.waiting import wait_until

pytestmark = needs_pool


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """An execute host that holds what exceeds its memory, as many administrators have it."""
    policy = "use policy : hold_if_memory_exceeded\nPOLLING_INTERVAL = 1\n"
    with Pool(hosts=1, cpus=2, more=policy) as made:
        yield made


def eats(size: int) -> None:
    eaten = bytearray(size)
    eaten[::4096] = b"x" * len(eaten[::4096])
    time.sleep(60)


def test_a_task_that_needs_more_memory_than_its_job_asked_for_ends_as_its_own_error(
    pool: Pool,
) -> None:
    with Site(pool, name="memory") as site:
        task = site.spool.options(agents=["pool"], retries=0).submit(eats, 500 << 20)
        with pytest.raises(TaskFailed, match="needed more memory than it had asked for"):
            task.result(timeout=60)
        [only] = site.attempts(task.id)
        assert (only["outcome"], only["cause"], only["blame"]) == ("error", "memory", "task")
        assert "ask for more with [resources] memory" in str(only["message"])
        wait_until(lambda: not site.queue("ClusterId"))


def test_a_task_that_needs_more_memory_than_its_whole_pilot_ends_alone(pool: Pool) -> None:
    """Before the policy has its pilot held, with all that runs there."""
    said, flag = pool.shared / "beside", pool.shared / "beside-flag"
    more = 'memory = "300MB"'
    with PilotSite(pool, name="pilot", most=1, slots=2, more=more) as site:
        beside = site.spool.submit(hold, 1, str(flag), str(said))
        task = site.spool.options(retries=0).submit(eats, 500 << 20)
        with pytest.raises(TaskFailed, match="ask for more"):
            task.result(timeout=60)
        flag.touch()
        assert beside.result(timeout=60) == 1
        assert len(site.attempts(beside.id)) == 1


def test_a_job_whose_files_are_gone_when_it_is_to_start_costs_its_task_no_retry(
    pool: Pool,
) -> None:
    with Site(pool, name="files") as site:
        others = [site.hold(number, agents=["pool"]) for number in (1, 2)]
        for each in others:
            each.until_it_runs()
        held = site.hold(3, agents=["pool"], retries=0)
        held.job()
        [file] = (site.daemon.spool / "agents/pool/jobs").glob(f"{held.task.id}*/in/task")
        file.unlink()
        for each in others:
            each.let_go()
        held.until_it_runs()
        held.let_go()
        first, second = held.attempts()
        assert (first["outcome"], first["cause"], first["blame"]) == ("lost", "launch", "agent")
        assert "its files could not be carried there" in str(first["message"])
        assert second["outcome"] == "success"
