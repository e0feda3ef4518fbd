"""A real daemon and a real pool of HTCondor: each attempt is one job, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.errors import TaskFailed
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.daemon import header, trailer
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool

LOCAL = '[agents.local]\nslots = 1\nmachine = "here"\n'


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A manager, a schedd and two execute hosts."""
    with Pool(hosts=2, cpus=4) as made:
        yield made


@pytest.fixture(scope="module")
def common(pool: Pool) -> Iterator[Site]:
    """For tests that leave daemon and schedd as they are."""
    with Site(pool, name="common", others=LOCAL) as made:
        yield made


@pytest.fixture
def site(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Site]:
    with Site(pool, name=request.node.name[:60]) as made:
        yield made


def square(number: int) -> tuple[int, str]:
    return number * number, os.uname().nodename


def fails() -> None:
    raise ValueError("it is no good")


def takes_long() -> None:
    time.sleep(60)


# -- work


def test_work_runs_on_the_pools_hosts(common: Site) -> None:
    values = list(common.spool.options(agents=["pool"]).map(square, range(12)))
    assert [value for value, _ in values] == [n * n for n in range(12)]
    assert {host for _, host in values} <= {"host1", "host2"}
    assert common.agent()["kind"] == "condor"


def test_alike_tasks_share_a_cluster_and_leave_no_folders(common: Site) -> None:
    held = [common.hold(number, agents=["pool"]) for number in (10, 11, 12)]
    wait_until(lambda: len(common.queue("ClusterId")) == 3)
    for each in held:
        each.let_go()
        each.task.result(timeout=60)
    jobs = common.daemon.spool / "agents" / "pool" / "jobs"
    wait_until(lambda: not list(jobs.iterdir()), last=lambda: list(jobs.iterdir()))


def test_a_command_has_its_inputs_and_brings_its_files_home(common: Site) -> None:
    text = (
        "#!/bin/sh\n#SPOOLMW place.agents = ['pool']\n"
        "tr a-z A-Z < 'some words.txt' > out.txt; mkdir deep; echo $PWD > deep/'a b,c'; echo said\n"
    )
    common.daemon.drop("words.sh", text, inputs={"some words.txt": "hello"})
    result = common.daemon.result("words.sh")
    files = result.with_suffix(".files")
    assert trailer(result)["state"] == "done"
    assert (files / "out.txt").read_text() == "HELLO"
    assert (files / "deep" / "a b,c").exists()
    assert header(result)["stdout_tail"] == "said\n"


def test_a_failure_is_the_tasks_own(common: Site) -> None:
    task = common.spool.options(agents=["pool"], retries=0).submit(fails)
    with pytest.raises(ValueError, match="it is no good"):
        task.result(timeout=60)


def test_what_takes_too_long_is_ended_by_its_runner(common: Site) -> None:
    task = common.spool.options(agents=["pool"], retries=0, time="1s").submit(takes_long)
    with pytest.raises(TaskFailed, match="time"):
        task.result(timeout=60)


def test_a_cancel_takes_the_job_out_of_the_queue(common: Site) -> None:
    held = common.hold(1, agents=["pool"])
    held.until_it_runs()
    job = held.job()
    common.daemon.ctl("cancel", held.task.id)
    wait_until(
        lambda: not [q for q in common.queue("ClusterId", "ProcId") if ".".join(q) == job]
    )
    [ended] = held.attempts()
    assert (ended["outcome"], ended["cause"]) == ("stopped", "cancelled")


def test_a_task_without_a_wish_for_memory_asks_for_what_the_agent_says(common: Site) -> None:
    plain, large = (
        common.hold(2, agents=["pool"]),
        common.hold(3, agents=["pool"], memory="200MB"),
    )
    plain.until_it_runs()
    large.until_it_runs()
    asked = common.queue("RequestMemory", "RequestCpus", "JobLeaseDuration")
    assert sorted(asked) == [["191", "1", "20"], ["64", "1", "20"]]
    for each in (plain, large):
        each.let_go()
        each.task.result(timeout=60)


# -- by hand and by policy


@pytest.mark.parametrize(("verb", "number"), [("condor_rm", 4), ("condor_hold", 5)])
def test_a_job_removed_or_held_by_hand_costs_the_task_nothing(
    common: Site, verb: str, number: int
) -> None:
    held = common.hold(number, agents=["pool"], retries=0)
    held.until_it_runs()
    common.run(verb, held.job())
    held.until_it_runs(2)
    held.let_go()
    held.task.result(timeout=60)
    first, second = held.attempts()
    assert (first["outcome"], first["cause"], first["blame"]) == ("lost", "held", "agent")
    assert "by user" in str(first["message"])
    assert second["outcome"] == "success"


def test_a_job_that_policy_holds_hangs_no_task(pool: Pool) -> None:
    lines = "periodic_hold = 'NumJobStarts == 1'\nperiodic_hold_reason = '\"not here\"'"
    with Site(pool, name="policy", lines=lines) as site:
        held = site.hold(agents=["pool"], retries=0)
        wait_until(lambda: site.attempts(held.task.id), last=site.daemon.log_text)
        first = site.attempts(held.task.id)[0]
        assert (first["outcome"], first["cause"], first["blame"]) == ("lost", "held", "agent")
        assert "not here" in str(first["message"])
        site.daemon.ctl("cancel", held.task.id)


def test_what_the_schedd_does_not_take_is_told_and_hangs_no_task(pool: Pool) -> None:
    with Site(pool, name="refused", lines="requirements = 'this is ( no expression'") as site:
        held = site.hold(agents=["pool"])
        wait_until(held.attempts_so_far, last=site.daemon.log_text)
        first = held.attempts_so_far()[0]
        assert (first["outcome"], first["cause"], first["blame"]) == ("lost", "launch", "agent")
        assert f"schedd {pool.schedd_name} takes no jobs" in str(first["message"])
        site.daemon.ctl("cancel", held.task.id)


# -- what dies


def test_what_runs_when_the_daemon_is_killed_is_taken_up_by_the_next(site: Site) -> None:
    runs, ends = site.hold(1), site.hold(2)
    host = runs.until_it_runs()
    ends.until_it_runs()
    site.daemon.kill()
    ends.let_go()
    wait_until(lambda: len(site.queue("ClusterId")) == 1)
    site.daemon.start()
    assert ends.task.result(timeout=60) in ("host1", "host2")
    runs.let_go()
    assert runs.task.result(timeout=60) == host
    assert (len(runs.starts()), len(ends.starts())) == (1, 1)
    assert [each["attempt"] for each in runs.attempts()] == [1]


def test_a_daemon_killed_at_any_moment_submits_no_attempt_twice(site: Site) -> None:
    """Also between the submit and the note of it: the attempt's token is in the job's ad."""
    tasks = [site.spool.submit(square, number) for number in range(8)]
    for pause_s in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        time.sleep(pause_s)
        site.daemon.kill()
        site.daemon.start()
    assert [task.result(timeout=100)[0] for task in tasks] == [n * n for n in range(8)]
    tokens = site.tokens()
    assert sorted(set(tokens)) == tokens
    wait_until(lambda: not site.queue("ClusterId"))


def test_a_schedd_that_is_started_again_costs_nothing(site: Site) -> None:
    held = site.hold(retries=0)
    host = held.until_it_runs()
    with being_root_again():
        site.pool.schedd.signal("condor_schedd", signal.SIGKILL)
    held.let_go()
    assert held.task.result(timeout=90) == host
    assert held.starts() == [host]


def test_while_the_schedd_is_away_its_agent_says_so_and_keeps_what_runs(pool: Pool) -> None:
    with Site(pool, name="away", more='poll = "2s"') as site:
        held = site.hold(retries=0)
        host = held.until_it_runs()
        with being_root_again():
            pool.schedd.kill()
        wait_until(lambda: not site.agent()["slots"], last=site.daemon.log_text)
        assert f"schedd {pool.schedd_name} " in str(site.agent()["reason"])
        assert held.attempts_so_far() == []
        with being_root_again():
            pool.schedd.start()
        site.wait_for_pool()
        held.let_go()
        held.task.result(timeout=90)
        assert held.starts()[0] == host


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncate", "it is shorter than it was"),
        ("move", "No such file or directory"),
        ("remove", "No such file or directory"),
        ("garbage", ""),
    ],
    ids=["truncate", "move", "remove", "garbage"],
)
def test_nothing_hangs_on_the_event_log(site: Site, how: str, said: str) -> None:
    held = site.hold(retries=0)
    host = held.until_it_runs()
    log = site.daemon.spool / "agents" / "pool" / "events.log"
    spoil(log, how)
    wait_until(lambda: f"its event log is odd: {said}" in site.daemon.log_text())
    held.let_go()
    assert held.task.result(timeout=90) == host
    assert held.starts() == [host]


def spoil(log: Path, how: str) -> None:
    if how == "truncate":
        os.truncate(log, 0)
    elif how == "move":
        log.rename(log.with_name("elsewhere"))
    elif how == "remove":
        log.unlink()
    else:
        with log.open("ab") as file:
            file.write(b"\x00 no event \xff\n" * 100)


# -- redundancy


def replicas(site: Site, task: str) -> list[dict[str, str]]:
    """The votes on a task."""
    [told] = site.daemon.ctl_json("votes", task)
    found: list[dict[str, str]] = told["votes"]["replicas"]  # type: ignore[index]
    return found


def test_replicas_run_on_distinct_hosts_of_the_pool(common: Site) -> None:
    task = common.spool.options(agents=["pool"], quorum=2).submit(pow, 7, 2)
    assert task.result(timeout=60) == 49
    hosts = {each["host"] for each in replicas(common, task.id)}
    assert hosts == {"host1.test", "host2.test"}


def test_a_quorum_of_hosts_in_the_pool_and_one_outside_agrees(common: Site) -> None:
    task = common.spool.options(quorum=3).submit(pow, 3, 3)
    assert task.result(timeout=60) == 27
    hosts = {each["host"] for each in replicas(common, task.id)}
    assert hosts == {"host1.test", "host2.test", "here"}
