"""What a project's server tells everybody of how it stands, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.boinclink.front import Front
from spoolmw.agents.boinclink.pages import HEADERS
from spoolmw.agents.boinclink.project import Outbox, Project
from spoolmw.agents.boinclink.scheduler import Scheduler
from tests.support.boincsaid import KEY, report, request
from tests.support.browser import read

Get = Callable[[str], Awaitable[tuple[HTTPResponse, str]]]


class Nobody:
    """The daemon, which is not there."""

    def tell(self, tree: dict[str, Any]) -> None:
        pass


def a_brief(root: Path) -> Brief:
    return Brief(
        root=root,
        name="lab",
        listen="127.0.0.1:0",
        url="http://127.0.0.1:8765/grid/",
        project="Lab <grid>",
        is_trusted=False,
        deadline_s=86400,
        poll_s=5,
        per_core=2,
        max_in_work_per_host=8,
        estimate_s=600,
        request_memory_bytes=10**8,
        request_disk_bytes=10**8,
        platforms=("x86_64-pc-linux-gnu",),
        preferences=(),
        setup={"env": {}, "umask": 0o022, "interpreters": {}, "values": "safe"},
        bundle="never",
    )


def serving(root: Path, story: Callable[[Scheduler, str, Get], Awaitable[None]]) -> None:
    """Run `story` with a server, a key of an account, and a way to get pages."""

    async def serve() -> None:
        project = Project.open(a_brief(root))
        key = accounts.add(project.brief.home / "accounts", "alice-desk", "alice").key
        scheduler = Scheduler(project, Outbox(project.records, Nobody()), lambda _: None)
        front = Front(project, scheduler)
        port = await front.listen("127.0.0.1", 0)

        async def get(path: str) -> tuple[HTTPResponse, str]:
            def look() -> tuple[HTTPResponse, str]:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer, answer.read().decode()

            return await asyncio.to_thread(look)

        try:
            await story(scheduler, key, get)
        finally:
            await front.close()
            await project.close()

    asyncio.run(serve())


def test_a_host_that_called_is_seen_and_no_secret_is(tmp_path: Path) -> None:
    async def story(scheduler: Scheduler, key: str, get: Get) -> None:
        await scheduler.answer(request().replace(KEY, key).encode())
        _, document = await get("/grid/")
        shown = read(document)
        assert shown.title == "Lab <grid>"
        assert shown.rows[-1] == ["desk-07-1", "linux-x86_64", "4", "just now", "0", "0"]
        _, told = await get("/grid/status.json")
        assert json.loads(told)["hosts"][0]["label"] == "desk-07-1"
        for secret in (key, "alice", "10.0.0.7", str(tmp_path)):
            assert secret not in document
            assert secret not in told

    serving(tmp_path, story)


def test_the_page_is_sent_as_one_on_which_nothing_runs(tmp_path: Path) -> None:
    async def story(scheduler: Scheduler, key: str, get: Get) -> None:
        for path, kind in (("/grid/", "text/html"), ("/grid/status.json", "application/json")):
            answer, _ = await get(path)
            assert answer.headers.get_content_type() == kind
            for name, value in HEADERS.items():
                assert answer.headers[name] == value

    serving(tmp_path, story)


def test_a_stranger_is_refused_however_odd_the_rest(tmp_path: Path) -> None:
    async def story(scheduler: Scheduler, key: str, get: Get) -> None:
        said = request().encode()[:-100] + b"<a>" * 100_000
        body, is_known = await scheduler.answer(said)
        assert not is_known
        assert b"account key" in body

    serving(tmp_path, story)


def test_a_host_with_very_many_reports_is_answered_and_all_are_acknowledged(
    tmp_path: Path,
) -> None:
    async def story(scheduler: Scheduler, key: str, get: Get) -> None:
        names = [f"{n:032x}.0.1" for n in range(1000)]
        said = request(*(report(name) for name in names)).replace(KEY, key)
        body, is_known = await scheduler.answer(said.encode())
        assert is_known
        assert body.count(b"<result_ack>") == len(names)

    serving(tmp_path, story)
