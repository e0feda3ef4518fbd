"""Pilots in a real pool of HTCondor: jobs that call the daemon and take many tasks."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.condor import needs_pool
from tests.support.pilots import begun, go_on_elsewhere, hold, note, outlive_the_daemon
from tests.support.pool import Pool
from tests.support.poolpilots import PilotSite
from tests.support.stepdown import being_root_again
from tests.support.unpacked import IS_ROOT
from tests.support.waiting import wait_until

pytestmark = needs_pool


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A manager, a schedd and three execute hosts."""
    with Pool(hosts=3, cpus=8) as made:  # what an earlier test leaves takes its time to go
        yield made


def test_pilots_come_for_work_do_it_and_leave_the_queue(pool: Pool) -> None:
    """200 tasks, each run once, on more than one host."""
    said = pool.shared / "many"
    with PilotSite(pool, name="many", more='idle = "1s"') as site:
        assert site.jobs() == []
        tasks = [site.spool.submit(note, n, str(said), 0.1) for n in range(200)]
        assert [each.result(60) for each in tasks] == [n * n for n in range(200)]
        assert sorted(begun(said)) == list(range(200))
        told = site.daemon.ctl_json("show", *[each.id for each in tasks])
        attempts = [one for each in told for one in each["attempts"]]  # type: ignore[attr-defined]
        assert len({each["host"] for each in attempts}) > 1
        assert len(site.jobs()) <= 3
        site.wait_until(lambda: not site.jobs())
        assert not list((site.folder / "orders").iterdir())


def test_a_daemon_that_dies_finds_its_pilots_again_and_nothing_runs_twice(pool: Pool) -> None:
    with PilotSite(pool, name="again") as site:
        outlive_the_daemon(site, pool.shared, site.jobs)


def test_a_pilot_that_is_removed_by_hand_costs_its_tasks_no_retry(pool: Pool) -> None:
    said, flag = pool.shared / "removed", pool.shared / "removed-flag"
    with PilotSite(pool, name="removed", most=1) as site:
        spool = site.spool.options(retries=0)
        tasks = [spool.submit(hold, n, str(flag), str(said)) for n in range(2)]
        site.wait_until(lambda: len(begun(said)) == 2)
        [pilot] = site.jobs()
        site.run("condor_rm", pilot)
        site.wait_until(lambda: len(begun(said)) == 4)
        flag.touch()
        assert [each.result(60) for each in tasks] == [0, 1]
        for each in tasks:
            lost, last = site.attempts(each.id)
            assert (lost["outcome"], lost["blame"]) == ("lost", "host")
            assert last["outcome"] == "success"


def test_what_is_vacated_goes_on_in_another_pilot_and_its_job_is_not_started_again(
    pool: Pool,
) -> None:
    with PilotSite(pool, name="vacated", most=2, slots=1) as site:
        evicted: list[str] = []

        def evict() -> None:
            evicted.extend(site.jobs())
            site.run("condor_vacate_job", *evicted)

        go_on_elsewhere(site, pool.shared, evict)
        site.wait_until(lambda: not set(evicted) & set(site.jobs()))
        [pilot] = evicted
        past = site.run("condor_history", pilot, "-af", "NumJobStarts", "RemoveReason")
        assert past.split()[0] == "1", past


def test_what_ran_on_a_host_that_dies_runs_again_in_another_pilot(pool: Pool) -> None:
    said, flag = pool.shared / "dies", pool.shared / "dies-flag"
    more = 'give_up = "3s"'
    with PilotSite(pool, name="dies", most=2, slots=1, more=more) as site:
        task = site.spool.options(retries=0).submit(hold, 1, str(flag), str(said))
        site.wait_until(lambda: begun(said) == [1])
        [name] = site.hosts().values()
        host = next(each for each in pool.hosts if each.name == name)
        with being_root_again():
            host.kill()
        try:
            site.wait_until(lambda: begun(said) == [1, 1])
            flag.touch()
            assert task.result(60) == 1
            lost, _ = site.attempts(task.id)
            assert (lost["outcome"], lost["blame"]) == ("lost", "host")
        finally:
            with being_root_again():
                host.start()
                pool.wait_for_hosts()


def test_what_froze_with_its_host_runs_in_another_pilot_and_is_not_heard_when_it_thaws(
    pool: Pool,
) -> None:
    """HTCondor notices nothing: what is not heard for `give_up` runs elsewhere."""
    said, flag = pool.shared / "froze", pool.shared / "froze-flag"
    more = 'give_up = "3s"\nidle = "5s"'
    with PilotSite(pool, name="froze", most=4, more=more) as site:
        spool = site.spool.options(retries=0)
        tasks = [spool.submit(hold, n, str(flag), str(said)) for n in range(4)]
        site.wait_until(lambda: len(begun(said)) == 4)
        there = site.hosts()
        host = next(each for each in pool.hosts if each.name in there.values())
        gone = {job for job, name in there.items() if name == host.name}
        with being_root_again():
            host.freeze()
        try:
            site.wait_until(lambda: len(begun(said)) == 4 + 2 * len(gone), 120)
            flag.touch()
            assert [each.result(60) for each in tasks] == list(range(4))
            site.wait_until(lambda: not gone & set(site.jobs()))  # by force
        finally:
            with being_root_again():
                host.thaw()
        site.wait_until(lambda: not site.jobs())
        with being_root_again():
            wait_until(lambda: not host.pids_of("condor_starter"), last=site.told)
        lost, outcomes = 0, set()
        for each in tasks:
            *earlier, last = site.attempts(each.id)
            lost += len(earlier)
            outcomes |= {(one["outcome"], one["cause"], one["blame"]) for one in earlier}
            assert last["outcome"] == "success"
        assert (lost, outcomes) == (2 * len(gone), {("lost", "connection", "host")})
        assert len(begun(said)) == 4 + lost
        assert sorted(set(begun(said))) == list(range(4))


def test_pilots_work_on_while_the_schedd_is_dead_and_more_come_when_it_is_back(
    pool: Pool,
) -> None:
    said, first, flag = pool.shared / "dead", pool.shared / "first", pool.shared / "dead-flag"
    lines = '"MY.JobLeaseDuration" = 120\n'  # all of its access point is away for a while
    with PilotSite(pool, name="dead", most=2, slots=1, lines=lines) as site:
        one = site.spool.submit(hold, 1, str(first), str(said))
        site.wait_until(lambda: begun(said) == [1])
        with being_root_again():
            pool.schedd.kill()
        try:
            two, three = [site.spool.submit(hold, n, str(flag), str(said)) for n in (2, 3)]
            site.wait_until(lambda: "the batch system: schedd" in str(site.agents()["pool:2"]))
            first.touch()
            assert one.result(60) == 1
            site.wait_until(lambda: len(begun(said)) == 2)
        finally:
            with being_root_again():
                pool.schedd.start()
        site.wait_until(lambda: sorted(begun(said)) == [1, 2, 3])
        flag.touch()
        assert [two.result(60), three.result(60)] == [2, 3]


def test_a_schedd_that_freezes_keeps_no_pilot_from_its_work(pool: Pool) -> None:
    said = pool.shared / "frozen"
    with PilotSite(pool, name="frozen", most=1) as site:
        assert site.spool.submit(note, 0, str(said)).result(60) == 0
        with being_root_again():
            pool.schedd.signal("condor_schedd", signal.SIGSTOP)
        try:
            time.sleep(5.5)  # by now it is asked, and does not answer
            tasks = [site.spool.submit(note, n, str(said)) for n in range(1, 20)]
            assert [each.result(10) for each in tasks] == [n * n for n in range(1, 20)]
        finally:
            with being_root_again():
                pool.schedd.signal("condor_schedd", signal.SIGCONT)


def test_a_pilot_that_policy_holds_is_removed_and_counts_as_a_failure_with_the_reason(
    pool: Pool,
) -> None:
    lines = (
        'requirements = "false"\n'
        'periodic_hold = "JobStatus == 1"\n'
        "periodic_hold_reason = '\"no pilots here\"'\n"
    )
    with PilotSite(pool, name="held", most=1, lines=lines) as site:
        site.spool.submit(note, 1, str(pool.shared / "held"))
        site.wait_until(
            lambda: "no pilots here; ask" in (why := site.why(1)) and "again" in why
        )
        site.wait_until(lambda: not site.jobs())


def test_pilots_come_from_a_schedd_elsewhere_that_sees_nothing_of_the_spool(pool: Pool) -> None:
    """Orders travel through the schedd; who dies finds them again; all leave the queue."""
    with PilotSite(pool, name="remote", more='idle = "25s"', is_remote=True) as site:
        outlive_the_daemon(site, pool.shared, site.jobs)
        site.wait_until(lambda: not site.jobs(), 120)
        assert not list((site.folder / "orders").iterdir())


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_the_last_words_of_a_pilot_come_from_a_schedd_elsewhere_too() -> None:
    with (
        Pool(hosts=1, is_without_python=True) as pool,
        PilotSite(pool, name="words", most=1, is_remote=True) as site,
    ):
        site.spool.submit(note, 1, str(pool.shared / "said"))
        site.wait_until(lambda: "no Python from 3.9 on" in site.why(1))
        site.wait_until(lambda: not site.jobs())


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_pilots_bring_their_python_to_hosts_that_have_none() -> None:
    with (
        Pool(hosts=1, is_without_python=True) as pool,
        PilotSite(pool, name="bundle", most=1, more='runner_python = "bundle"') as site,
    ):
        said = pool.shared / "said"
        tasks = [site.spool.submit(note, n, str(said)) for n in range(5)]
        assert [each.result(60) for each in tasks] == [n * n for n in range(5)]
