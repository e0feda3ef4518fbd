"""A site behind a TLS terminator: what a client downloads is protected by more than RSA-1024 and MD5."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boincclient import Desktops, needs_boinc
from tests.support.boincsite import Crowd, Site, free_port
from tests.support.fakeclient import FakeHost
from tests.support.tlsfront import Authority, terminator
from tests.support.waiting import wait_until


def same_everywhere() -> str:
    return "same_everywhere"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    port = free_port()
    home = tmp_path_factory.mktemp("secure")
    with (
        Site(home, url=f"https://127.0.0.1:{port}/grid/") as made,
        terminator(authority, port, made.port),
    ):
        yield made


def test_whoever_does_not_know_the_authority_says_nothing(secure: Site, crowd: Crowd) -> None:
    host = secure.host(tls=ssl.create_default_context())
    with pytest.raises(ssl.SSLError):
        crowd.do(host.attach())


def test_all_addresses_are_those_of_the_terminator(
    secure: Site, crowd: Crowd, authority: Authority
) -> None:
    task = secure.spool.options(quorum=2).submit(same_everywhere)
    hosts = [secure.host(tls=authority.client()) for _ in range(2)]
    for host in hosts:
        crowd.do(_one_job(host))
    assert secure.result(task) == "same_everywhere"


async def _one_job(host: FakeHost) -> None:
    while not host.reported:
        reply = await host.work()
        assert host.scheduler.startswith("https://")
        for job in reply.jobs:
            assert job.upload_url.startswith("https://")
            assert all(each.url.startswith("https://") for each in job.files)


@needs_boinc
def test_the_stock_client_works_over_https_with_an_authority_of_ones_own(
    secure: Site, crowd: Crowd, authority: Authority
) -> None:
    task = secure.spool.options(quorum=2).submit(same_everywhere)
    with Desktops(2, hidden=[Path(secure.daemon.home)]) as desktops:
        knows, stranger = desktops.all
        knows.trust(authority.ca)
        for each in desktops.all:
            secure.attach(each).start()
        crowd.do(_one_job(secure.host(tls=authority.client())))
        wait_until(task.done, timeout_s=90, last=desktops.log_text)
        assert task.result() == "same_everywhere"
        assert "Master file download succeeded" not in stranger.log_text()
        assert "Master file download succeeded" in knows.log_text()
