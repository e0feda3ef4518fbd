"""Which hosts of a pool a task may have: votes are of different ones, and a paused one has none."""

from __future__ import annotations

from tests.acceptance.test_condor import LOCAL, replicas
from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.pool import Pool

pytestmark = needs_pool


def test_two_agree_of_which_one_is_in_the_pool_and_one_is_here() -> None:
    with Pool(hosts=1) as pool, Site(pool, others=LOCAL) as site:
        task = site.spool.options(quorum=2, retries=0).submit(pow, 7, 3)
        assert task.result(timeout=60) == 343
        votes = replicas(site, task.id)
        assert {each["host"] for each in votes} == {"host1.test", "here"}
        assert {each["agent"] for each in votes} == {"pool", "local"}


def test_a_host_that_is_paused_is_given_nothing_by_the_pool_either() -> None:
    with Pool(hosts=2) as pool, Site(pool, others=LOCAL) as site:
        spool = site.spool.options(agents=["pool"])
        known = spool.options(quorum=2).submit(pow, 2, 3)
        assert known.result(timeout=60) == 8
        site.daemon.ctl("pause", "--host", "host1.test")
        voted = site.spool.options(quorum=2).submit(pow, 2, 5)
        plain = [site.hold(number, agents=["pool"]) for number in (1, 2)]
        assert {each.until_it_runs() for each in plain} == {"host2"}
        for each in plain:
            each.let_go()
            each.task.result(timeout=60)
        assert voted.result(timeout=60) == 32
        assert {each["host"] for each in replicas(site, voted.id)} == {"host2.test", "here"}
        site.daemon.ctl("resume", "--host", "host1.test")
