"""A call that goes wrong in the middle: what the client said in it is not forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.boinclink import accounts, reports
from spoolmw.agents.boinclink.listing import Listed
from spoolmw.agents.boinclink.project import Outbox, Project
from spoolmw.agents.boinclink.scheduler import Scheduler
from tests.support.boincsaid import KEY, report, request
from tests.unit.agents.test_boinc_standing import a_brief

DONE, FAILED, ASTRAY = ("a" * 32 + ".0.1", "b" * 32 + ".0.1", "c" * 32 + ".0.1")


class Heard:
    """The daemon."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def tell(self, tree: dict[str, Any]) -> None:
        if tree["event"] == "ended":
            self.ended += [each["attempt"] for each in tree["attempts"]]


def test_reports_count_also_when_the_rest_of_their_call_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client tries again, and then its reports are known already: nobody would look again."""
    landed: list[str] = []
    daemon = Heard()

    def fails(_: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def story(project: Project) -> None:
        outbox = Outbox(project.records, daemon)
        scheduler = Scheduler(project, outbox, landed.append)
        pump = asyncio.create_task(outbox.pump())
        key = accounts.add(project.brief.home / "accounts", "ann").key

        async def call(*said: str, **more: Any) -> None:
            await scheduler.answer(request(*said, **more).replace(KEY, key).encode())

        await call()
        [host] = project.callers.hosts.values()
        packets = [f"{each}\n{'f' * 32}\nactive/t" for each in (DONE, FAILED, ASTRAY)]
        for job in project.holdings.enter([[{}, packets]]):
            listed = Listed(order=b"", files=(), most_bytes=99)
            project.desk.send(job, host, listed, 1e9)
        await project.records.settled()
        said = (report(DONE), report(FAILED, state=reports.STATE_COMPUTE_ERROR, exit_status=1))
        with monkeypatch.context() as patched:
            patched.setattr(project.records, "job_of", fails)
            with pytest.raises(sqlite3.OperationalError):
                await call(*said, host_id=host.id, seqno=1, seconds=0.0)
        await call(*said, host_id=host.id, seqno=1, seconds=0.0)
        await asyncio.sleep(0.05)
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump

    async def serve() -> None:
        project = Project.open(a_brief(tmp_path))
        try:
            await story(project)
        finally:
            await project.close()

    asyncio.run(serve())
    assert (landed, daemon.ended) == ([DONE], [FAILED])
