"""Nothing is said before it is durable: while the database cannot be written, nobody hears anything."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from spoolmw.runner import results
from tests.boincfront.test_one import gets, together
from tests.boincfront.test_restarts import insists
from tests.support import fakework
from tests.support.boinchttp import Cut
from tests.support.boinclab import Lab
from tests.support.fakeclient import FakeHost, Refused

_HEARS = (Refused, TimeoutError, Cut)


@contextlib.contextmanager
def nothing_is_written(lab: Lab) -> Iterator[None]:
    """Somebody else writes for a while."""
    blocker = sqlite3.connect(lab.brief.home / "front.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


async def hears_nothing(host: FakeHost, **asked: float) -> None:
    with pytest.raises(_HEARS):
        await asyncio.wait_for(host.poll(**asked), 1.5)


async def works_again(host: FakeHost) -> None:
    while True:
        try:
            await host.poll(seconds=0.0, instances=0.0)
        except _HEARS:
            await asyncio.sleep(0.1)
        else:
            return


def test_no_id_no_job_and_no_ack_before_they_are_on_the_disk(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host, new = lab.host(), lab.host()

    async def serve() -> None:
        await host.poll(seconds=0.0, instances=0.0)
        with nothing_is_written(lab):
            await hears_nothing(new, seconds=0.0, instances=0.0)
            assert not new.state.host_id
        await works_again(new)
        assert new.state.host_id
        await works_again(host)
        with nothing_is_written(lab):
            await hears_nothing(host)
            assert not lab.entries("started", name)
        await works_again(host)
        await host.turn(await gets(host, name))
        assert lab.start_of(name)
        with nothing_is_written(lab):
            await hears_nothing(host, seconds=0.0, instances=0.0)
            assert name not in host.reported
            assert not lab.entries("ended", name)
        await insists(host, name)
        for each in (host, new):
            await each.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"
    assert len(lab.entries("started", name)) == 1
    assert host.ran == [name]


def test_a_call_that_brings_nothing_new_waits_for_no_disk(lab: Lab) -> None:
    host = lab.host()

    async def serve() -> None:
        for _ in range(2):
            await host.poll(seconds=0.0, instances=0.0)
        with nothing_is_written(lab):
            await host.poll()  # one that wrote would be refused
        await host.close()

    together(serve)


def test_an_upload_is_on_the_disk_under_its_name_before_it_is_done(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        data = host.make(job, await host.fetch(job))
        assert await host.upload(job, data) == 0
        assert (lab.brief.home / "uploads" / name).read_bytes() == data
        lab.again()
        assert await host.stored(job) == len(data)
        await host.close()

    together(serve)


def test_a_job_of_several_cores_keeps_them_busy_and_waits_for_who_has_them(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true", cpus=4))
    small, large = lab.host(p_ncpus=2), lab.host(p_ncpus=8)

    async def serve() -> None:
        job = await gets(large, name)
        assert job.plan_class == "c4"
        assert not (await small.poll()).jobs
        for each in (small, large):
            await each.close()

    together(serve)


def test_a_host_without_a_python_gets_one_with_the_next_job(own: Lab) -> None:
    own.close()
    lab = Lab(own.root, bundle="auto")
    lab.start()
    first, second = (lab.launch(lab.bench.call(str, python="")) for _ in range(2))
    host = lab.host()

    async def serve() -> None:

        job = await gets(host, first)
        data = fakework.trouble(81, "there is no Python here")
        assert await host.upload(job, data) == 0
        for each in list(host.state.jobs.values()):
            if each.name != first:
                host.fail(each, state=6, exit_status=202)
        host.finish(job, data)
        await host.poll(seconds=0.0, instances=0.0)
        assert lab.end_of(first)["counts"] is False
        third = lab.launch(lab.bench.call(str, python=""))
        again = await gets(host, third)
        assert again.plan_class == "python"
        names = {each.open_name for each in again.app}
        assert "python.tgz" in names
        assert len((await host.fetch(again))["python.tgz"]) > 1 << 20
        await host.close()

    together(serve)
    assert second
    lab.close()


def test_an_upload_that_is_all_there_and_has_not_its_name_yet_is_not_said_to_be_there(
    lab: Lab,
) -> None:
    """A client that hears of as many bytes as it has reports its job, and never sends it again."""
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()
    host.making = large

    async def serve() -> None:
        job = await gets(host, name)
        data = host.make(job, await host.fetch(job))
        await host.upload(job, data)
        lab.kill()
        whole = lab.brief.home / "uploads" / name
        whole.rename(whole.with_name(f"{name}.part"))
        lab.start()
        assert 0 < await host.stored(job) < len(data)
        assert await host.upload(job, data) == 0
        assert await host.stored(job) == len(data)
        host.finish(job, data)
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def large(errand: fakework.Errand) -> results.Ended:
    """So large that a client asks first how much of it is there."""
    return fakework.success(errand, "x" * 12_000)
