"""`agents test` on pools of HTCondor: the whole way of a task is tried, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import ROOT
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(hosts=1) as made:
        yield made


def tried(site: Site, *more: str) -> dict[str, object]:
    """What it says of the pool, while it leaves nothing behind."""
    done = site.daemon.ctl("agents", "test", "pool", "--json", *more, check=False)
    [row] = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (0 if row["ok"] else 1)
    assert not list((site.daemon.spool / "agents" / "pool").glob("canary-*"))
    return row


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_healthy_pool_says_who_we_are_and_runs_a_small_task(
    pool: Pool,
    is_remote: bool,
) -> None:
    with Site(pool, name=f"well{is_remote}", is_remote=is_remote) as site:
        row = tried(site)
        assert row["ok"], row
        assert (row["schedd"], row["host"]) == (pool.schedd_name, "host1.test")
        assert row["user"] == (
            "tester@test" if is_remote else pool.schedd_name.split("@")[0] + "@test"
        )
        assert (row["slots"], row["all_slots"]) == (1, 1)
        assert Path(str(row["python"])).name.startswith("python3")
        wait_until(lambda: not site.queue("ClusterId"))


def test_a_pool_without_a_fitting_slot_says_what_was_looked_for(pool: Pool) -> None:
    with Site(pool, name="unfit", more='platform = "linux-aarch64"') as site:
        row = tried(site)
        assert (row["stage"], row["ok"]) == ("slots", False)
        assert "of 1 none has 1 core, 0.0671 GB of memory, linux-aarch64" in str(row["why"])
        assert "`platform`" in str(row["fix"])
        table = site.daemon.ctl("agents", "test", "pool", check=False).stdout
        assert "failed: slots" in table
        assert "no slot of the pool fits" in table


def test_a_job_that_gets_no_machine_or_is_held_is_told_and_removed(pool: Pool) -> None:
    with Site(pool, name="never", lines="requirements = 'Machine == \"no\"'") as site:
        row = tried(site, "--wait", "3s")
        assert (row["stage"], row["what"]) == ("job", "a small job did not begin in time")
        assert "better-analyze" in str(row["fix"])
        wait_until(lambda: not site.queue("ClusterId"))
    with Site(pool, name="held", lines="periodic_hold = 'true'") as site:
        row = tried(site)
        assert (row["stage"], row["what"]) == ("job", "a small job was held")
        wait_until(lambda: not site.queue("ClusterId"))


@pytest.mark.parametrize("by", ["ctrl-c", "two signals at once"])
def test_ctrl_c_leaves_no_job_behind(pool: Pool, by: str) -> None:
    with Site(pool, name=f"end{len(by)}", lines="requirements = 'Machine == \"no\"'") as site:
        words = ("--spool", str(site.daemon.spool), "agents", "test", "pool")
        with subprocess.Popen(
            [sys.executable, "-m", "spoolmw.ctl.main", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        ) as child:
            wait_until(lambda: site.queue("ClusterId"))
            if by == "ctrl-c":
                os.killpg(child.pid, signal.SIGINT)
            else:
                interrupt_twice(examiner(child.pid))
        assert child.returncode
        wait_until(lambda: not site.queue("ClusterId"))
        wait_until(lambda: not list((site.daemon.spool / "agents" / "pool").glob("canary-*")))


def examiner(ctl: int) -> int:
    """The process that talks with the pool for this `spoolmw-ctl`."""
    [pid] = Path(f"/proc/{ctl}/task/{ctl}/children").read_text(encoding="ascii").split()
    return int(pid)


def interrupt_twice(pid: int) -> None:
    """Ctrl-C, and its end before it did anything about that, as on a machine that is overloaded."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(
        lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(pid, number)


def test_a_schedd_that_is_not_there_is_told_at_once() -> None:
    with Pool(hosts=1) as pool, Site(pool) as site:
        with being_root_again():
            pool.schedd.kill()
        began = time.monotonic()
        row = tried(site)
        assert time.monotonic() - began < 30
        assert (row["stage"], row["ok"]) == ("schedd", False)
        assert pool.schedd_name in str(row["what"])
        assert "condor_status -schedd" in str(row["fix"])
