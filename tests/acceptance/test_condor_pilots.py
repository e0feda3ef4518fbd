"""Pilots in a real pool of HTCondor: jobs that call the daemon and take many tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.condor import needs_pool
from tests.support.pilots import begun, hold, note
from tests.support.pool import Pool
from tests.support.poolpilots import PilotSite

pytestmark = needs_pool


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A manager, a schedd and three execute hosts."""
    with Pool(hosts=3, cpus=2) as made:
        yield made


def test_pilots_come_for_work_do_it_and_leave_the_queue(pool: Pool) -> None:
    """200 tasks, each run once, on more than one host."""
    said = pool.shared / "many"
    with PilotSite(pool, name="many", more='idle = "2s"') as site:
        assert site.jobs() == []
        tasks = [site.spool.submit(note, n, str(said), 0.05) for n in range(200)]
        assert [each.result(60) for each in tasks] == [n * n for n in range(200)]
        assert sorted(begun(said)) == list(range(200))
        assert len(set(site.hosts().values())) > 1
        assert len(site.jobs()) <= 3
        site.wait_until(lambda: not site.jobs())
        site.wait_until(lambda: not list(site.folder.glob("seat-*")))
        assert not list((site.folder / "orders").iterdir())
