"""What is said of a task that waits for a pool, or in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.condor import needs_pool
from tests.support.condorsite import Site
from tests.support.pool import Pool
from tests.support.scene import Held
from tests.support.waiting import wait_until

pytestmark = needs_pool


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    more = 'max_idle = 2\nmax_gpus = 4\npoll = "2s"'
    with Pool(hosts=1, cpus=2) as pool, Site(pool, more=more) as made:
        yield made


def why(site: Site, held: Held) -> str:
    return site.daemon.ctl("why", held.task.id).stdout


def test_what_waits_for_a_machine_and_what_waits_for_the_pools_bounds_say_so(
    site: Site,
) -> None:
    held = [site.hold(number, agents=["pool"]) for number in range(1, 6)]
    wait_until(lambda: (site.agent()["running"], site.agent()["queued"]) == (2, 2))
    here = "2 run, 2 wait for a machine, max_idle = 2"
    here_too = f"waits for 1 cpu on pool (4 of 4 taken: {here})"  # whichever came last

    def told() -> list[str]:
        return [why(site, each) for each in held]

    wait_until(lambda: sum(here_too in text for text in told()) == 1, last=told)
    assert sum("does not wait: attempt 1 runs on pool" in text for text in told()) == 2
    assert sum(f"is at pool: waits for a machine ({here})" in text for text in told()) == 2
    for each in held:
        each.let_go()
    for each in held:
        each.task.result(timeout=60)


@pytest.mark.parametrize(
    ("number", "wish", "words"),
    [
        (7, {"memory": "64GB"}, "1 core, 64 GB of memory, linux-x86_64"),
        (8, {"gpus": 3}, "3 GPUs, linux-x86_64"),
        (9, {"platform": "linux-aarch64"}, "of memory, linux-aarch64"),
    ],
)
def test_what_no_machine_of_the_pool_can_ever_run_is_told(
    site: Site, number: int, wish: dict[str, object], words: str
) -> None:
    held = site.hold(number, agents=["pool"], **wish)
    wait_until(lambda: "for ever" in why(site, held), last=lambda: why(site, held))
    assert "it waits for ever: no slot of the pool, of 1, has " in why(site, held)
    assert words in why(site, held)
    wait_until(lambda: words in str(site.agent()["reason"]))
    site.daemon.ctl("cancel", held.task.id)
    wait_until(lambda: not site.agent()["reason"])
