"""kill -9 of what serves the clients, and of the daemon, at each step of a job.

One job goes its way from the spool to a host and back, and at one of its requests
something is killed: before the request is sent, while it is answered, when the answer was sent but
did not arrive, after it arrived; for uploads also half-way. Each time the same attempt comes to its end,
it was made once, and there is one result.

`make crash` (SPOOLMW_CRASH=full) goes through all points, for the link and for the daemon with all
that is below it; else a sample of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.boinchttp import Answer, Cut, Wire
from tests.support.boincsite import Crowd, Site
from tests.support.fakeclient import LARGE_BYTES, FakeHost
from tests.support.fakework import Errand, success

MODES = ("before", "half", "during", "unheard", "after")
#: The requests of a job: for work, its order, its task, how much is there, the upload, the report.
STEPS = 6
POINTS = [
    (step, mode) for step in range(STEPS) for mode in MODES if mode != "half" or step == 4
]
IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
VICTIMS = {"link": POINTS[:: 1 if IS_FULL else 3], "all": POINTS[:: 1 if IS_FULL else 7]}


def nothing() -> None:
    pass


def large(errand: Errand) -> Any:
    """Too large for one request without a question."""
    return success(errand, errand.name + " " * LARGE_BYTES)


class Struck(Wire):
    """A host's wire. At one of its requests something is killed."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._countdown, self._mode, self._victim = -1, "", ""
        self.log: list[str] = []

    def arm(self, step: int, mode: str, victim: str) -> None:
        self._countdown, self._mode, self._victim = step, mode, victim
        self.log.clear()

    @property
    def has_struck(self) -> bool:
        return self._countdown < 0

    async def ask(self, url: str, body: bytes | None = None, **more: Any) -> Answer:
        self.log.append(f"{url.rpartition('/')[2]} {len(body or b'')}")
        due = self._countdown == 0
        self._countdown -= 1
        if not due:
            return await super().ask(url, body, **more)
        return await self._strike(url, body, **more)

    async def _strike(self, url: str, body: bytes | None, **more: Any) -> Answer:
        if self._mode == "before":
            await self._kill()
            return await super().ask(url, body, **more)
        if self._mode in ("half", "during"):
            cut = len(body or b"") // 2 if self._mode == "half" else None
            try:
                return await super().ask(url, body, cut_after=cut, deaf=True, **more)
            finally:
                await self._kill()
        answer = await super().ask(url, body, **more)
        await self._kill()
        if self._mode == "unheard":
            raise Cut("the answer did not arrive")
        return answer

    async def _kill(self) -> None:
        kill = self._site.kill_link if self._victim == "link" else self._site.kill_all
        await asyncio.to_thread(kill)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host's word is enough, so that one job goes its way alone."""
    with Site(tmp_path_factory.mktemp("trusting"), more="trusted = true") as made:
        yield made


@pytest.fixture(scope="module")
def struck(trusting: Site, crowd: Crowd) -> FakeHost:
    host = trusting.host()
    host.wire = Struck(trusting)
    host.making = large
    crowd.do(until_it_answers(host))
    return host


async def until_it_answers(host: FakeHost) -> None:
    while True:
        try:
            await host.work()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(
    ("victim", "step", "mode"), [(v, s, m) for v, points in VICTIMS.items() for s, m in points]
)
def test_killed_at_a_step_the_same_attempt_comes_to_its_end(
    trusting: Site, crowd: Crowd, struck: FakeHost, victim: str, step: int, mode: str
) -> None:
    task = trusting.spool.submit(nothing)
    trusting.wait_for_waiting()
    assert isinstance(struck.wire, Struck)
    struck.wire.arm(step, mode, victim)
    struck.ran.clear()
    crowd.do(struck.live(lambda: task.done() and not struck.state.done, pause_s=0.02))
    assert struck.wire.has_struck, struck.wire.log
    assert task.result(30).strip() == "nothing"
    attempts = trusting.attempts(task.id)
    assert [each["outcome"] for each in attempts] == ["success"], trusting.about(task)
    assert len(struck.ran) == 1
