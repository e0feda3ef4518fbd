"""Execute hosts that freeze: HTCondor does not notice, the daemon does by itself."""

from __future__ import annotations

from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.pool import Pool
from tests.support.stepdown import being_root_again
from tests.support.waiting import wait_until

pytestmark = needs_pool


def test_what_froze_with_its_host_runs_elsewhere_and_is_not_heard_when_it_thaws() -> None:
    with Pool(hosts=2, cpus=1) as pool, Site(pool, more='silent = "12s"\npoll = "2s"') as site:
        one, other = (site.hold(number, agents=["pool"], retries=0) for number in (1, 2))
        first, second = one.until_it_runs(), other.until_it_runs()
        assert first != second
        [host] = [each for each in pool.hosts if each.name == first]
        # Both starters have said something.
        wait_until(lambda: ["undefined"] not in site.queue("StatsLifetimeStarter"))
        with being_root_again():
            host.freeze()
        wait_until(one.attempts_so_far, last=site.daemon.log_text)
        [lost] = one.attempts_so_far()
        assert (lost["outcome"], lost["cause"], lost["blame"]) == ("lost", "connection", "host")
        assert f"nothing was heard of it on {first}.test" in str(lost["message"])
        other.let_go()
        assert other.task.result(timeout=60) == second, "a healthy host is not taken for frozen"
        assert one.until_it_runs(2) == second
        with being_root_again():
            host.thaw()
        one.let_go()
        assert one.task.result(timeout=60) == second
        assert (len(one.starts()), len(other.starts())) == (2, 1)
        assert [each["outcome"] for each in other.attempts()] == ["success"]
        wait_until(lambda: not site.queue("ClusterId"))
