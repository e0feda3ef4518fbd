"""Other ways to a pool: a schedd elsewhere, one file system for all, hosts without Python, a hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import ROOT, trailer
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool

#: Has the daemon take a silent link process for one that hangs after five seconds.
IMPATIENT = """\
import sys
if "spoolmw.daemon.main" in sys.orig_argv:
    from spoolmw.agents import engineagent
    engineagent.SILENT_S = 5.0
"""
#: Has the link process take a log for a large one that has some ten jobs in it.
SMALL_LOGS = """\
import sys
if "spoolmw.agents.condorlink" in sys.orig_argv:
    from spoolmw.agents.condorlink import eventlogs
    eventlogs.MOST_BYTES = 8000
"""
SCRIPT = """\
#!/bin/sh
#SPOOLMW place.agents = ['pool']
cat 'what is there' > copied; echo said
"""


def brings_its_files(site: Site) -> None:
    site.daemon.drop("job.sh", SCRIPT, inputs={"what is there": "hello"})
    result = site.daemon.result("job.sh")
    assert trailer(result)["state"] == "done"
    assert (result.with_suffix(".files") / "copied").read_text() == "hello"


def test_a_schedd_elsewhere_gets_and_gives_files_with_a_token() -> None:
    with Pool(hosts=1) as pool, Site(pool, is_remote=True) as site:
        brings_its_files(site)
        held = site.hold(agents=["pool"])
        held.until_it_runs()
        site.daemon.kill()
        held.let_go()
        wait_until(lambda: site.queue("JobStatus") == [["4"]])
        site.daemon.start()
        assert held.task.result(timeout=60) == "host1"
        assert len(held.starts()) == 1
        wait_until(lambda: not site.queue("ClusterId"))


@pytest.mark.parametrize(
    ("history", "said"), [("$(SPOOL)/history", "removed"), ("", "left the pool's queue")]
)
def test_a_spooled_job_that_left_the_queue_with_its_result_costs_its_task_no_retry(
    history: str, said: str
) -> None:
    """Somebody forced it out while nobody looked; without a history the schedd cannot even say so."""
    with (
        Pool(hosts=1, more=f"HISTORY = {history}\n") as pool,
        Site(pool, is_remote=True) as site,
    ):
        held = site.hold(agents=["pool"], retries=0)
        held.until_it_runs()
        job = held.job()
        site.daemon.kill()
        held.let_go()
        wait_until(lambda: site.queue("JobStatus") == [["4"]])
        site.run("condor_rm", job)
        site.run("condor_rm", "-forcex", job)
        wait_until(lambda: not site.queue("ClusterId"))
        site.daemon.start()
        assert held.task.result(timeout=60) == "host1"
        first, second = held.attempts()
        assert (first["outcome"], first["blame"]) == ("lost", "agent")
        assert said in str(first["message"])
        assert second["outcome"] == "success"


def test_jobs_use_the_spool_itself_where_all_see_it() -> None:
    with (
        Pool(hosts=1, shares_files=True) as pool,
        Site(pool, more="shared_files = true") as site,
    ):
        brings_its_files(site)
        assert site.spool.options(agents=["pool"]).submit(pow, 2, 5).result(timeout=60) == 32


def test_the_daemons_python_travels_to_hosts_that_have_none() -> None:
    more = 'runner_python = "bundle"'
    with Pool(hosts=1, is_without_python=True) as pool, Site(pool, more=more) as site:
        task = site.spool.options(agents=["pool"]).submit(pow, 2, 6)
        assert task.result(timeout=120) == 64


def test_a_schedd_that_hangs_is_noticed_and_costs_nothing(tmp_path: Path) -> None:
    with Pool(hosts=1) as pool:
        haste = pool.shared / "haste"
        haste.mkdir()
        (haste / "sitecustomize.py").write_text(IMPATIENT)
        env = {"PYTHONPATH": f"{haste}{os.pathsep}{ROOT}"}
        with Site(pool, more='poll = "2s"', env=env) as site:
            held = site.hold(agents=["pool"], retries=0)
            host = held.until_it_runs()
            with being_root_again():
                pids = pool.schedd.signal("condor_schedd", signal.SIGSTOP)
            wait_until(lambda: not site.agent()["slots"], last=site.daemon.log_text)
            assert "does not answer" in str(site.agent()["reason"])
            with being_root_again():
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            site.wait_for_pool()
            held.let_go()
            assert held.task.result(timeout=90) == host
            assert held.starts() == [host]


def test_the_event_log_stays_small_while_there_are_always_jobs() -> None:
    """The oldest job goes on for all the time, and writes into the log that it began with."""
    with Pool(hosts=1, cpus=4) as pool:
        few = pool.shared / "few"
        few.mkdir()
        (few / "sitecustomize.py").write_text(SMALL_LOGS)
        env = {"PYTHONPATH": f"{few}{os.pathsep}{ROOT}"}
        with Site(pool, more='poll = "1s"', env=env) as site:
            old = site.hold(agents=["pool"], retries=0)
            old.until_it_runs()
            spool = site.spool.options(agents=["pool"], retries=0)
            for _ in range(3):
                assert list(spool.map(abs, range(-6, 0), chunk=1)) == [6, 5, 4, 3, 2, 1]
                time.sleep(1.5)
            assert not old.task.done()

            def logs() -> list[str]:
                found = site.daemon.spool.glob("agents/pool/events.log*")
                return [each.name for each in found]

            wait_until(lambda: len(logs()) <= 2, last=logs)
            if "its event log is odd" not in site.daemon.log_text():  # that takes all but one
                assert len(logs()) == 2
                assert "events.log" in logs()
            old.let_go()
            old.task.result(timeout=60)
            assert [each["attempt"] for each in old.attempts()] == [1]
