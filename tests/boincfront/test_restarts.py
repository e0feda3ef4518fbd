"""kill -9 of the link between any two steps of a job: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import json
import os
import time

import pytest

from tests.boincfront.test_one import finishes, gets, together
from tests.support.boinchttp import Cut
from tests.support.boinclab import Lab
from tests.support.fakeclient import FakeHost, Refused


async def insists(host: FakeHost, name: str) -> None:
    """As a client does: whatever fails is tried again, until the job is reported."""
    while name not in host.reported:
        try:
            await host.work()
        except (Cut, Refused, OSError):
            await asyncio.sleep(0.05)


STEPS = ["launched", "asked", "fetched", "uploaded", "reported", "landed"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_the_job_comes_home_once(lab: Lab, step: str) -> None:
    work = lab.bench.command("true")
    lab.releases = step != "landed"
    name = lab.launch(work)
    host = lab.host()

    def may_die(now: str) -> None:
        if now == step:
            lab.again()

    async def serve() -> None:
        may_die("launched")
        job = await gets(host, name)
        may_die("asked")
        data = host.make(job, await host.fetch(job))
        may_die("fetched")
        while await host.upload(job, data) != 0:
            await asyncio.sleep(0.05)
        host.finish(job, data)
        may_die("uploaded")
        await host.poll(seconds=0.0, instances=0.0)
        may_die("reported")
        lab.end_of(name)
        may_die("landed")
        await insists(host, name)
        await host.close()

    together(serve)
    end = lab.end_of(name)
    assert end["outcome"] == "success"
    assert host.ran == [name]
    assert {each["outcome"] for each in lab.entries("ended", name)} == {"success"}
    lab.releases = True
    lab.release(name)
    lab.wait_until_swept()


def test_killed_while_a_report_waits_for_its_ack_it_is_told_all_the_same(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        await host.turn(await gets(host, name))
        with pytest.raises(Cut):
            await host.poll(deaf=True)
        lab.again()
        await insists(host, name)
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def test_a_failure_that_was_acked_is_told_by_the_next_one(lab: Lab) -> None:
    lab.releases = False
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        host.fail(await gets(host, name))
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)
    lab.end_of(name)
    count = len(lab.entries("ended", name))
    lab.again()
    lab.wait(lambda: len(lab.entries("ended", name)) > count)
    lab.releases = True
    lab.release(name)


def test_what_the_daemon_forgot_meanwhile_is_ended_on_its_host(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        await gets(host, name)
        lab.kill()
        lab.given.pop(name)
        lab.start()
        reply = await host.poll(seconds=0.0, instances=0.0)
        assert reply.aborts == [name]
        await host.poll(seconds=0.0, instances=0.0)
        assert name in host.reported
        await host.close()

    together(serve)
    assert not lab.entries("ended", name)


def test_hosts_are_known_after_a_restart(lab: Lab) -> None:
    host = lab.host()

    async def serve() -> None:
        await host.poll(seconds=0.0, instances=0.0)
        number = host.state.host_id
        lab.again()
        for _ in range(3):
            await host.poll(seconds=0.0, instances=0.0)
        assert host.state.host_id == number
        await host.close()

    together(serve)


def test_a_database_that_is_damaged_is_set_aside_and_no_id_is_given_twice(own: Lab) -> None:
    host, other = own.host(), own.host()

    async def serve() -> None:
        await host.poll(seconds=0.0, instances=0.0)
        own.kill()
        for end in ("-wal", "-shm"):
            (own.brief.home / f"front.db{end}").unlink(missing_ok=True)
        (own.brief.home / "front.db").write_bytes(b"nonsense" * 1000)
        own.start()
        await other.poll(seconds=0.0, instances=0.0)
        assert other.state.host_id > 1_000_000
        await host.poll(seconds=0.0, instances=0.0)
        assert host.state.host_id > 1_000_000
        for each in (host, other):
            await each.close()

    together(serve)
    assert list(own.brief.home.glob("front.db.damaged-*"))


def test_what_is_not_reported_in_time_is_lost_and_counts_if_it_comes_after_all(
    own: Lab,
) -> None:
    own.close()
    short = Lab(own.root, deadline_s=1.0)
    short.start()
    name = short.launch(short.bench.command("true"))
    host = short.host()

    async def serve() -> None:
        await host.turn(await gets(host, name))
        short.end_of(name)
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)
    short.wait(lambda: len(short.entries("ended", name)) > 1)
    late, after_all = short.entries("ended", name)
    assert (late["outcome"], late["dead"], late["blame"]) == ("lost", False, "deadline")
    assert after_all["outcome"] == "success"
    short.close()


def test_a_server_that_was_away_gives_the_time_back(own: Lab) -> None:
    own.close()
    short = Lab(own.root, deadline_s=6.0)
    short.start()
    name = short.launch(short.bench.command("true"))
    host = short.host()

    async def serve() -> None:
        job = await gets(host, name)
        short.kill()
        before = time.time() - 1000
        os.utime(short.brief.home / "alive", (before, before))
        short.start()
        await asyncio.sleep(max(0.0, job.deadline + 4.0 - time.time()))
        assert not short.entries("ended", name)
        await host.turn(job)
        await host.poll(seconds=0.0, instances=0.0)
        await host.close()

    together(serve)
    assert short.end_of(name)["outcome"] == "success"
    short.close()


def test_what_a_project_says_of_itself(lab: Lab) -> None:
    host = lab.host("a b&amp;")

    async def serve() -> None:
        await host.poll(seconds=0.0, instances=0.0)
        time.sleep(2.1)
        told = json.loads(await host._get(f"{lab.brief.url}status.json"))
        assert told["project"] == "a lab"
        assert any(each["label"] == f"a-b-{host.state.host_id}" for each in told["hosts"])
        assert b"a-b-" in await host._get(lab.brief.url)
        await host.close()

    together(serve)


def test_its_page_shows_how_far_the_work_is(lab: Lab) -> None:
    host = lab.host("pc")

    async def tasks() -> tuple[int, int]:
        told = json.loads(await host._get(f"{lab.brief.url}status.json"))["tasks"]
        return (told["done"], told["all"]) if told else (0, 0)

    async def serve() -> None:
        while (found := await tasks())[0] == found[1]:  # what came is counted
            await asyncio.sleep(0.1)
        await finishes(host, name)
        await asyncio.to_thread(lab.end_of, name)
        while (found := await tasks())[0] < found[1]:
            await asyncio.sleep(0.1)
        page = (await host._get(lab.brief.url)).decode()
        assert f"{found[1]} of {found[1]} task" in page
        await host.close()

    name = lab.launch(lab.bench.command("true", name="far"))
    together(serve)
