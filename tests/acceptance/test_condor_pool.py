"""The pools of HTCondor that the other tests use: work runs there, breaks as it should, and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, left_over
from tests.support.pool import Pool, needs_pool, personal, stepping_down
from tests.support.unpacked import IS_ROOT
from tests.support.waiting import wait_until

pytestmark = needs_pool

JOB = """\
executable = /bin/sh
transfer_executable = false
initialdir = {folder}
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
request_memory = 16
request_disk = 1M
MY.JobLeaseDuration = {lease_s}
{more}
queue {count}
"""
#: Tells where it began, and goes on until the flag is there.
HOLD = "pwd >>{shared}/starts; until test -e {shared}/flag; do sleep 0.1; done"


def submit(pool: Pool, script: str, *more: str, count: int = 1, lease_s: int = 4) -> str:
    """Have this shell script run so many times; the cluster.

    A job begins again when its host has not been heard of for `lease_s`.
    """
    told = "\n".join([f"arguments = \"-c '{script}'\"", *more])
    text = JOB.format(folder=pool.user_folder, more=told, count=count, lease_s=lease_s)
    return pool.submit(text)


class Held:
    """A job that runs until it is let go."""

    def __init__(self, pool: Pool, *, lease_s: int = 4) -> None:
        self._pool = pool
        self.cluster = submit(pool, HOLD.format(shared=pool.shared), lease_s=lease_s)

    def starts(self) -> list[str]:
        """The hosts on which it began, in order."""
        note = self._pool.shared / "starts"
        sandboxes = note.read_text().split() if note.exists() else []
        return [Path(each).relative_to(self._pool.folder).parts[0] for each in sandboxes]

    def begun(self, times: int = 1) -> list[str]:
        wait_until(lambda: len(self.starts()) == times, last=self._pool.log_text)
        return self.starts()

    def end(self) -> None:
        (self._pool.shared / "flag").touch()
        self._pool.wait_until_gone(self.cluster)


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(hosts=2) as made:
        yield made


def test_three_hosts_are_three_machines_that_see_nothing_of_each_other() -> None:
    script = "uname -n; cat /etc/machine-id; ls {user} {folder}/ap; sleep 1"
    with Pool(hosts=3, cpus=1) as pool:
        look = script.format(user=pool.user_folder, folder=pool.folder)
        pool.wait_until_gone(submit(pool, look, "output = told$(Process)", count=3))
        told = [(pool.user_folder / f"told{n}").read_text().split() for n in range(3)]
    if IS_ROOT:
        ours = {each.name: each.machine_id for each in pool.hosts}
        empty = [f"{pool.folder}/ap:", f"{pool.user_folder}:"]
        assert sorted(told) == sorted([*pair, *empty] for pair in ours.items())


def test_what_ran_on_a_host_that_dies_runs_again_on_another(pool: Pool) -> None:
    held = Held(pool)
    [first] = held.begun()
    next(each for each in pool.hosts if each.name == first).kill()
    _, second = held.begun(2)
    assert {first, second} == {"host1", "host2"}
    held.end()


def test_what_runs_outlives_a_schedd_that_is_killed_and_a_host_that_freezes(pool: Pool) -> None:
    held = Held(pool, lease_s=300)
    [name] = held.begun()
    host = next(each for each in pool.hosts if each.name == name)
    host.freeze()
    assert pool.schedd.signal("condor_schedd")
    wait_until(lambda: pool.schedd.pids_of("condor_schedd"))
    host.thaw()
    held.end()
    assert held.starts() == [name]


def test_an_access_point_comes_back_with_its_queue(pool: Pool) -> None:
    for each in pool.hosts:
        each.stop()
    cluster = submit(pool, "true")
    pool.schedd.kill()
    pool.schedd.start()
    assert pool.queued(cluster, "JobStatus") == [["1"]]
    for each in pool.hosts:
        each.start()
    pool.wait_until_gone(cluster)


def test_a_token_makes_a_submitter_of_anybody() -> None:
    with personal() as pool:
        text = JOB.format(folder=pool.user_folder, more="hold = true", count=2, lease_s=4)
        by_token = pool.submit(text, config=pool.by_token)
        by_user = pool.submit(text)
        assert pool.queued(by_token, "Owner") == [["tester"]] * 2
        assert pool.queued(by_user, "Owner") != pool.queued(by_token, "Owner")


def test_a_pool_of_one_machine_runs_work_and_leaves_nothing() -> None:
    with personal() as pool:
        pool.wait_until_gone(submit(pool, "echo done", "output = told"))
        assert (pool.user_folder / "told").read_text() == "done\n"
    assert traces(pool.folder) == []


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_the_hosts_can_be_without_python_and_the_pools_user_has_ours() -> None:
    with Pool(hosts=1, is_without_python=True) as pool:
        pool.wait_until_gone(submit(pool, "python3 -c 1; echo $?", "output = told"))
        assert (pool.user_folder / "told").read_text() != "0\n"
        told = subprocess.run(
            [*stepping_down(), sys.executable, "-c", "import os, spoolmw; print(os.geteuid())"],
            cwd="/",
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(told.stdout) != 0


def test_a_pool_goes_with_the_process_that_made_it() -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with maker:
        assert maker.stdout is not None
        folder = Path(maker.stdout.readline().strip())
        assert traces(folder)
        maker.send_signal(signal.SIGKILL)
    wait_until(lambda: traces(folder) == [], last=lambda: str(traces(folder)))


#: Makes a pool with a running job, says where, and stays.
MAKER = """
import time
from tests.acceptance.test_condor_pool import Held
from tests.support.pool import Pool
with Pool(hosts=1) as pool:
    Held(pool).begun()
    print(pool.folder, flush=True)
    time.sleep(300)
"""


def traces(folder: Path) -> list[str]:
    """What there is of a pool: its folder, its processes, its mounts."""
    mounts = [
        each for each in Path("/proc/mounts").read_text().splitlines() if str(folder) in each
    ]
    there = [str(folder)] if folder.exists() else []
    return [*there, *map(str, left_over(folder)), *mounts]
