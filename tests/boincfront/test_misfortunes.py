"""A full disk, a taken port, and clients that are odd or mean."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spoolmw.agents.boinclink.crowd import Crowd
from spoolmw.agents.boinclink.front import Front
from spoolmw.agents.boinclink.project import Outbox, Project
from spoolmw.agents.boinclink.scheduler import Scheduler
from tests.boincfront.test_one import gets, together
from tests.boincfront.test_restarts import insists
from tests.support.boinclab import Lab
from tests.support.fakeclient import Refused
from tests.support.smalldisk import fill, small_disk


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    root.mkdir()
    with small_disk(root, "size=90m"):
        lab = Lab(root)
        lab.start()
        name = lab.launch(lab.bench.command("true"))
        host, new = lab.host(), lab.host()

        async def serve() -> None:
            job = await gets(host, name)
            data = host.make(job, await host.fetch(job))
            ballast = fill(root)
            assert await host.upload(job, data) == 1
            for _ in range(3):
                with pytest.raises(Refused, match="503"):
                    await new.poll()
            ballast.unlink()
            while await host.upload(job, data) != 0:
                await asyncio.sleep(0.1)
            host.finish(job, data)
            ballast = fill(root)
            with pytest.raises(Refused, match="503"):
                await host.poll(seconds=0.0, instances=0.0)
            assert not lab.entries("ended", name)
            ballast.unlink()
            await insists(host, name)
            while not new.state.host_id:
                with contextlib.suppress(Refused):
                    await new.poll()
            for each in (host, new):
                await each.close()

        try:
            together(serve)
            assert lab.end_of(name)["outcome"] == "success"
        finally:
            lab.close()


def test_a_port_that_is_taken_is_told_and_tried_again(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lab = Lab(tmp_path / "spool", port=taken.getsockname()[1])
        with pytest.raises(AssertionError, match="cannot be served"):
            lab.start()
    lab.wait(lambda: lab.events("told"))
    lab.close()


def test_garbage_gets_an_answer_and_ends_nothing(lab: Lab) -> None:
    host = lab.host()
    base = lab.brief.url

    async def serve() -> None:
        await host.attach()
        for body in (b"", b"\0" * 5000, b"<a>" * 5000, b"<scheduler_request>" + b"\xff" * 99):
            assert (await host.wire.ask(f"{base}scheduler", body)).status == 200
        assert (await host.wire.ask(f"{base}scheduler", b"x" * (5 << 20))).status == 413
        upload = f"{base}upload/file_upload_handler"
        for body in (b"", b"nonsense", b"<file_upload>" * 3000):
            answer = await host.wire.ask(upload, body)
            assert b"<status>-1</status>" in answer.body
        for path in ("x", "download/", "scheduler", "upload/", "../status.json"):
            assert (await host.wire.ask(f"{base}{path}")).status == 404
        assert (
            await host.wire.ask(f"{base}scheduler", b"x", headers={"Content-Encoding": "gzip"})
        ).status == 415
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)


def test_who_calls_all_the_time_without_a_good_key_is_sent_away(own: Lab) -> None:
    host, good = own.host(), own.host()
    host.authenticator = "1" * 32

    async def serve() -> None:
        refused = 0
        for _ in range(100):
            try:
                await host.poll()
            except Refused:
                refused += 1
        assert 10 < refused < 90
        await good.poll()  # from the same address
        assert good.state.host_id
        for each in (host, good):
            await each.close()

    together(serve)


@contextlib.asynccontextmanager
async def served(lab: Lab, crowd: Crowd) -> AsyncIterator[int]:
    """A server of this very process."""

    class Nobody:
        def tell(self, tree: dict[str, object]) -> None:
            pass

    project = Project.open(lab.brief)
    scheduler = Scheduler(project, Outbox(project.records, Nobody()), print)
    front = Front(project, scheduler, crowd)
    port = await front.listen("127.0.0.1", 0)
    try:
        yield port
    finally:
        await front.close()
        await project.close()


async def is_hung_up(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionError:
        return True


def test_who_says_nothing_or_little_is_hung_up_on(tmp_path: Path) -> None:
    async def serve() -> None:
        async with served(Lab(tmp_path / "spool"), Crowd(quiet_s=0.5)) as port:
            silent = await asyncio.open_connection("127.0.0.1", port)
            slow = await asyncio.open_connection("127.0.0.1", port)

            async def drip() -> None:
                with contextlib.suppress(ConnectionError):
                    while True:
                        slow[1].write(b"G")
                        await slow[1].drain()
                        await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drip())
            assert await is_hung_up(silent[0])
            assert await is_hung_up(slow[0])
            await dripping
            for _, writer in (silent, slow):
                writer.close()

    asyncio.run(serve())


def test_there_is_a_bound_for_connections(tmp_path: Path) -> None:
    async def serve() -> None:
        async with served(Lab(tmp_path / "spool"), Crowd(most=3)) as port:
            lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            assert await is_hung_up(lines[3][0])
            for _, writer in lines:
                writer.close()

    asyncio.run(serve())


def test_one_address_has_a_bound_of_its_own_unless_it_is_a_proxy_here() -> None:
    crowd = Crowd(most_of_one=2)
    lines = [object() for _ in range(8)]
    assert [crowd.enters(each, "10.0.0.1") for each in lines[:3]] == [True, True, False]  # type: ignore[arg-type]
    assert crowd.enters(lines[3], "10.0.0.2")  # type: ignore[arg-type]
    assert all(crowd.enters(each, "127.0.0.1") for each in lines[4:])  # type: ignore[arg-type]
    crowd.leaves(lines[0], "10.0.0.1")  # type: ignore[arg-type]
    assert crowd.enters(lines[2], "10.0.0.1")  # type: ignore[arg-type]
