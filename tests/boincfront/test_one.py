"""One job's way to a host and home, and what may happen on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from spoolmw.agents.boinclink import accounts
from tests.support import boincask, fakework
from tests.support.boinchttp import Cut
from tests.support.boinclab import Lab
from tests.support.fakeclient import ABORTED, FAILED, FETCH_FAILED, FakeHost, Job, Refused

Step = Callable[[], Awaitable[object]]


def together(*steps: Step) -> None:
    """One after the other, in one loop."""

    async def all_of_them() -> None:
        for each in steps:
            await each()

    asyncio.run(all_of_them())


async def gets(host: FakeHost, name: str) -> Job:
    """The host asks until it has this job: what the daemon says takes its moment."""
    while name not in host.state.jobs:
        await host.poll()
    return host.state.jobs[name]


async def finishes(host: FakeHost, name: str) -> None:
    """The host does its jobs and reports them."""
    job = await gets(host, name)
    await host.turn(job)
    await host.poll(seconds=0.0, instances=0.0)
    assert name in host.reported


async def part_of_upload(job: Job, data: bytes, size: int, *, pause_s: float = 0.3) -> None:
    """So much comes, and then the line breaks."""
    url = urlsplit(job.upload_url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = boincask.upload_head(job, data, {"offset": 0})
    length = len(head) + len(data)
    writer.write(f"POST {url.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}".encode())
    writer.write(b"\r\n\r\n" + head + data[:size])
    await writer.drain()
    try:
        await asyncio.sleep(pause_s)  # what a server has not read when the line breaks is lost
    finally:
        writer.close()
    await writer.wait_closed()


def test_a_job_is_sent_run_uploaded_reported_and_lands(lab: Lab) -> None:
    work = lab.bench.command("true", name="one")
    name = lab.launch(work)
    host = lab.host("pc")
    together(lambda: finishes(host, name), host.close)
    end = lab.end_of(name)
    assert (end["outcome"], end["owner"], end["platform"]) == (
        "success",
        "ann",
        "linux-x86_64",
    )
    number = host.state.host_id
    assert (end["host"], end["machine"]) == (f"pc-{number}", f"boinc lab/{number}")
    assert lab.start_of(name)["machine"] == f"boinc lab/{number}"
    assert lab.bench.value(work) == "one"
    lab.wait_until_swept()


def test_what_is_there_already_is_not_sent_again(lab: Lab) -> None:
    """A download that was cut goes on where it ended; an upload too."""
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()
    host.making = lambda errand: fakework.success(errand, "x" * 12_000)

    async def serve() -> None:
        job = await gets(host, name)
        for each in job.files:
            data = await host.download(each, resumes_at=each.nbytes // 2)
            assert len(data) == each.nbytes
        data = host.make(job, await host.fetch(job))
        await part_of_upload(job, data, 10_000)
        while not (stored := await host.stored(job)):
            await asyncio.sleep(0.02)
        assert stored == 9_999, "its end comes with the rest"
        assert await host.upload(job, data) == 0
        assert await host.stored(job) == len(data)
        host.finish(job, data)
        await host.poll()
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def test_an_upload_may_come_twice_and_at_the_same_time(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        data = host.make(job, await host.fetch(job))
        other = lab.host()
        assert (
            sorted(
                await asyncio.gather(
                    *(each.upload(job, data) for each in (host, other)), return_exceptions=True
                ),
                key=str,
            )[0]
            == 0
        )
        assert await host.upload(job, data) == 0
        host.finish(job, data)
        await host.poll()
        for each in (host, other):
            await each.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def test_a_report_counts_once_however_often_it_comes(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        await host.turn(await gets(host, name))
        done = dict(host.state.done)
        for _ in range(3):
            host.state.done = dict(done)
            assert (await host.poll(seconds=0.0, instances=0.0)).acks == [name]
        await host.close()

    together(serve)
    lab.end_of(name)
    assert len(lab.entries("ended", name)) == 1


def test_what_a_host_has_forgotten_is_sent_again(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        first = await gets(host, name)
        host.reset()
        [again] = (await host.poll(seconds=0.0, instances=0.0)).jobs
        assert (again.name, again.token, again.deadline) == (
            name,
            first.token,
            first.deadline,
        )
        await finishes(host, name)
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def test_an_answer_that_got_lost_loses_no_job(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        await host.poll(seconds=0.0, instances=0.0)
        for _ in range(4):  # whose jobs are sent again and again is taken to forget them
            with pytest.raises(Cut):
                await host.poll(deaf=True)
            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(lab.wait, lambda: lab.entries("started", name), 5.0)
                break
        await finishes(host, name)
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"
    assert len(lab.entries("started", name)) == 1


def test_what_nobody_waits_for_any_more_is_aborted_and_swallowed(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        data = host.make(job, await host.fetch(job))
        lab.stop(name)
        assert await host.upload(job, data) == 0
        reply = await host.poll()
        assert reply.aborts == [name]
        assert not reply.jobs
        assert (await host.poll()).acks == [name]
        await host.close()

    together(serve)
    assert not lab.entries("ended", name)
    assert not lab.uploads


def test_a_key_that_is_no_good_gets_words_and_nothing_else(lab: Lab) -> None:
    lab.launch(lab.bench.command("true"))
    host = lab.host()
    host.authenticator = "0" * 32

    async def serve() -> None:
        reply = await host.poll()
        assert "account key" in reply.messages[0]
        assert not reply.jobs
        assert not host.state.host_id
        assert reply.delay_s <= 60
        await host.close()

    together(serve)


def test_a_revoked_account_gets_nothing_and_what_its_hosts_have_runs_elsewhere(
    lab: Lab,
) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host(owner="eve")

    async def serve() -> None:
        await gets(host, name)
        accounts.revoke(lab.brief.home / "accounts", "eve")
        assert "account key" in (await host.poll()).messages[0]
        await host.close()

    together(serve)
    end = lab.end_of(name)
    assert (end["outcome"], end["counts"]) == ("lost", False)
    assert "eve" in end["message"]


def test_a_client_that_goes_on_from_a_backup_is_another_host(lab: Lab) -> None:
    host = lab.host()

    async def serve() -> None:
        for _ in range(3):
            await host.poll(seconds=0.0, instances=0.0)
        kept = host.backup()
        for _ in range(2):
            await host.poll(seconds=0.0, instances=0.0)
        first = host.state.host_id
        host.restore(kept)
        await host.poll(seconds=0.0, instances=0.0)
        assert host.state.host_id != first
        await host.close()

    together(serve)


def test_a_client_that_never_heard_its_id_gets_the_same_again(own: Lab) -> None:
    host = own.host()

    async def serve() -> None:
        with pytest.raises(Cut):
            await host.poll(deaf=True)
        for _ in range(100):
            await host.poll(seconds=0.0, instances=0.0)
            if host.state.host_id:
                break
        assert host.state.host_id == 1
        await host.close()

    together(serve)


@pytest.mark.parametrize(
    ("state", "code", "counts"),
    [(FAILED, 1, True), (FETCH_FAILED, -186, False), (ABORTED, 203, False), (5, 7, True)],
)
def test_a_job_that_went_wrong_there_is_lost_with_the_clients_words(
    lab: Lab, state: int, code: int, counts: bool
) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        host.fail(
            job, state=state, exit_status=code, stderr="\x01\x1b[31m]]> it broke </result>"
        )
        assert (await host.poll(seconds=0.0, instances=0.0)).acks == [name]
        await host.close()

    together(serve)
    end = lab.end_of(name)
    assert (end["outcome"], end["blame"], end["counts"]) == ("lost", "host", counts)
    assert "it broke" in end["message"]


def test_a_host_that_fails_gets_less_and_rests(lab: Lab) -> None:
    names = [lab.launch(lab.bench.command("true")) for _ in range(9)]
    host, other = lab.host(), lab.host()

    async def serve() -> None:
        job = await gets(host, names[1])
        for each in list(host.state.jobs.values()):
            host.fail(each)
        assert host.state.done[job.name]
        assert not (await host.poll()).jobs
        await gets(other, names[-1])
        assert not (await host.poll()).jobs
        for each in (host, other):
            await each.close()

    together(serve)


def test_a_host_without_a_fitting_python_is_not_asked_for_it_again(lab: Lab) -> None:
    name = lab.launch(lab.bench.call(str, python="3.9"))
    host = lab.host()

    async def refuse() -> None:
        job = await gets(host, name)
        data = fakework.trouble(81, "there is no Python 3.9 here")
        assert await host.upload(job, data) == 0
        host.finish(job, data)
        await host.poll()

    async def gets_nothing_of_that() -> None:
        end = lab.end_of(name)
        assert (end["cause"], end["counts"]) == ("interpreter", False)
        assert "3.9" in end["message"]
        lab.launch(lab.bench.call(str, python="3.9"))
        other = lab.launch(lab.bench.call(str, python="3.11"))
        jobs: list[str] = []
        while not jobs:
            jobs = [each.name for each in (await host.poll()).jobs]
        assert jobs == [other]
        await host.close()

    together(refuse, gets_nothing_of_that)


def test_voters_of_a_task_are_apart(lab: Lab) -> None:
    first, second = lab.host(owner="ann"), lab.host(owner="bob")

    async def serve() -> None:
        for each in (first, second):
            await each.poll(seconds=0.0, instances=0.0)
        taken = [f"host boinc lab/{first.state.host_id}"]
        name = lab.launch(lab.bench.command("true"), distinct="host", taken=taken)
        assert not (await first.poll()).jobs
        await gets(second, name)
        assert not (await first.poll()).jobs
        mine = lab.launch(lab.bench.command("true"), distinct="owner", taken=["owner bob"])
        await gets(first, mine)
        for each in (first, second):
            await each.close()

    together(serve)


def test_an_upload_without_its_token_is_refused_for_ever(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        assert await host.upload(job, b"evil", token="0" * 64) == -1
        assert await host.upload(job, b"evil", name="out_../../x") == -1
        assert await host.upload(job, b"evil", nbytes=1 << 50) == -1
        assert await host.upload(job, b"evil", md5="0" * 32) == 1
        await host.close()

    together(serve)
    assert not lab.uploads


def test_a_report_without_an_upload_is_lost(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        host.finish(job)
        await host.poll()
        await host.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "lost"


def test_nobody_reports_for_another_host(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host, thief = lab.host(), lab.host(owner="mallory")

    async def serve() -> None:
        job = await gets(host, name)
        thief.state.jobs[job.name] = job
        thief.fail(job)
        assert (await thief.poll(seconds=0.0, instances=0.0)).acks == [name]
        await finishes(host, name)
        for each in (host, thief):
            await each.close()

    together(serve)
    assert lab.end_of(name)["outcome"] == "success"


def test_a_pickled_value_of_a_stranger_is_not_taken(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()
    host.making = lambda errand: fakework.success(errand, b"cos\nsystem\n.", codec="pickle")
    together(lambda: finishes(host, name), host.close)
    end = lab.end_of(name)
    assert end["outcome"] == "lost"
    assert "safe codec" in end["message"]
    assert not (lab.root / "stage" / name).exists()


def test_names_are_looked_up_and_never_opened(lab: Lab) -> None:
    name = lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        job = await gets(host, name)
        [order] = [each for each in job.inputs if each.name.startswith("order_")]
        wrong = order.name[:-1] + ("0" if order.name[-1] != "0" else "1")
        for each in ("../front.db", "%2e%2e/front.db", "..%2ffront.db", wrong, "c_" + "0" * 64):
            with pytest.raises(Refused, match="404"):
                await host._get(f"{lab.brief.url}download/{each}")
        await host.close()

    together(serve)


@pytest.mark.parametrize("inputs", ["gone", "odd"])
def test_a_job_that_cannot_be_made_is_told_and_holds_nobody_up(lab: Lab, inputs: str) -> None:
    work = lab.bench.command("true", inputs=[{"name": "x"}] if inputs == "odd" else [])
    if inputs == "gone":
        (lab.root / work.path).unlink()
    name, other = lab.launch(work), lab.launch(lab.bench.command("true"))
    host = lab.host()

    async def serve() -> None:
        await gets(host, other)
        assert list(host.state.jobs) == [other]
        await host.close()

    together(serve)
    end = lab.end_of(name)
    assert (end["cause"], end["blame"]) == ("launch", "agent")
