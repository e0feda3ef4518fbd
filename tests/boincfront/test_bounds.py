"""What one host may take of the server, which others need too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from spoolmw.agents.boinclink.uploads import NoRoom, Uploads
from tests.boincfront.test_one import gets, part_of_upload, together
from tests.support.boinclab import Lab
from tests.support.fakeclient import FakeHost, Job
from tests.support.smalldisk import small_disk

MANY = 8  #: files that come from a host at one time


async def has_jobs(host: FakeHost, names: list[str]) -> list[Job]:
    return [await gets(host, each) for each in names]


def test_a_host_fills_no_more_than_its_share_of_the_disk_with_what_it_never_reports(
    tmp_path: Path,
) -> None:
    root = tmp_path / "spool"
    root.mkdir()
    with small_disk(root, "size=4g"):  # of which it uses next to nothing
        lab = Lab(root)
        lab.start()
        names = [lab.launch(lab.bench.command("true")) for _ in range(3)]
        glutton, other = lab.host(), lab.host()

        async def serve() -> None:
            first, second, third = await has_jobs(glutton, names)
            assert await glutton.upload(first, b"x" * 100, nbytes=400 << 20) == 1
            assert await glutton.stored(first) == 99
            assert await glutton.upload(second, b"x" * 100, nbytes=200 << 20) == 1
            assert await glutton.stored(second) == 0
            data = glutton.make(third, await glutton.fetch(third))
            assert await glutton.upload(third, data) == 0, "there is room for what is small"
            name = lab.launch(lab.bench.command("true"))
            job = await gets(other, name)
            assert await other.upload(job, b"x" * 100, nbytes=200 << 20) == 1
            assert await other.stored(job) == 99, "others have their own share"
            for each in (glutton, other):
                await each.close()

        try:
            together(serve)
        finally:
            lab.close()


def test_what_comes_at_the_same_time_has_room_together(tmp_path: Path) -> None:
    with small_disk(tmp_path, "size=1g"):
        uploads = Uploads(tmp_path / "uploads")
        first = uploads.begin("one", 0, 600 << 20)
        assert first is not None
        with pytest.raises(NoRoom):
            uploads.begin("two", 0, 600 << 20)
        first.close()
        second = uploads.begin("two", 0, 600 << 20)
        assert second is not None
        second.close()


def test_uploads_leave_a_part_of_the_disk_to_the_spool(tmp_path: Path) -> None:
    with small_disk(tmp_path, "size=1g"):
        uploads = Uploads(tmp_path / "uploads")
        with pytest.raises(NoRoom):
            uploads.begin("one", 0, 950 << 20)


def test_a_slow_host_holds_a_few_places_and_others_have_theirs(tmp_path: Path) -> None:
    own = Lab(tmp_path / "spool", per_core=MANY)
    own.start()
    names = [own.launch(own.bench.command("true")) for _ in range(MANY + 1)]
    slow, other = own.host(), own.host()

    async def serve() -> None:
        *jobs, last = await has_jobs(slow, names)
        data = slow.make(last, await slow.fetch(last))
        lines = [asyncio.create_task(stalls(each)) for each in jobs]
        while len(own.uploads) < MANY:
            await asyncio.sleep(0.05)
        assert await slow.upload(last, data) == 1
        job = await gets(other, own.launch(own.bench.command("true")))
        assert await other.upload(job, other.make(job, await other.fetch(job))) == 0
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        while await slow.upload(last, data) != 0:
            await asyncio.sleep(0.1)
        for each in (slow, other):
            await each.close()

    try:
        together(serve)
    finally:
        own.close()


async def stalls(job: Job) -> None:
    """An upload of which nothing comes any more."""
    await part_of_upload(job, b"x" * 1000, 100, pause_s=60.0)


def test_of_a_stranger_no_more_is_read_than_its_key(own: Lab) -> None:
    """Who is unknown holds none of the places that long requests have."""

    async def serve() -> None:
        url = urlsplit(f"{own.brief.url}scheduler")
        told = f"POST {url.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        body = b"<scheduler_request>\n<authenticator>00</authenticator>\n" + b" " * 100_000
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(told.encode() + body)
        answer = await asyncio.wait_for(reader.read(), 30)
        assert b"Invalid or missing account key" in answer
        writer.close()
        await writer.wait_closed()

    together(serve)
