"""What a host may say that is not so: nothing of it becomes a result, and others are not held up."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.boinc.test_life_of_a_job import a_task, do, job_of, two_hosts
from tests.support.boincsite import Crowd, Site
from tests.support.fakeclient import FakeHost, Job
from tests.support.fakework import named, packed, success, trouble

Tree = dict[str, Any]
FLAG = "spoolmw-was-unpickled"


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (open, (self.path, "w"))


def change_report(**fields: object) -> Callable[[Tree], None]:
    return lambda told: told["report"].update(fields)


def lie(crowd: Crowd, host: FakeHost, job: Job, data: bytes, **told: Any) -> None:
    """Upload these bytes and report them, with what is told instead of the truth."""
    lies = {"nbytes": len(data), **told}
    crowd.do(host.upload(job, data))
    host.finish(job, data, **lies)
    crowd.do(host.poll(seconds=0))
    assert job.name in host.reported


def then_the_truth_wins(crowd: Crowd, site: Site, task: Any) -> None:
    for each in two_hosts(site):
        do(site, crowd, each, task)
    assert site.result(task) == task.name


OUTPUTS: dict[str, Callable[[FakeHost, Job, dict[str, bytes]], bytes]] = {
    "nothing": lambda *_: b"",
    "a line without end": lambda *_: b"{" * 100_000,
    "no such format": lambda *_: b'{"format": 2, "files": []}\n',
    "a path": lambda *_: b'{"format": 1, "files": [["../../x", 1]]}\nx',
    "more than there is": lambda *_: b'{"format": 1, "files": [["report.json", 9999]]}\n{}',
    "less than there is": lambda h, j, f: h.make(j, f) + b"more",
    "a negative length": lambda *_: b'{"format": 1, "files": [["report.json", -1]]}\n',
    "no report": lambda *_: packed({"result": b"x", "log": b""}),
    "a report of nothing": lambda *_: packed({"report.json": b"{}", "result": b"", "log": b""}),
    "another's attempt": lambda h, j, f: h.make(
        j, f, spoil=change_report(attempt="0" * 32 + ".0.1")
    ),
    "another token": lambda h, j, f: h.make(j, f, spoil=change_report(token="0" * 32)),
    "a wrong digest": lambda h, j, f: h.make(j, f, spoil=change_report(digest="0" * 64)),
    "a wrong length": lambda h, j, f: h.make(j, f, spoil=change_report(body_bytes=7)),
    "an outcome that is none": lambda h, j, f: h.make(j, f, spoil=change_report(outcome="won")),
    "a trouble that is none": lambda *_: packed({"trouble.json": b"[" * 10_000}),
    "a full disk": lambda h, *_: trouble(83, "the disk is full", host=h.name),
}


@pytest.mark.parametrize("what", OUTPUTS)
def test_an_output_that_is_none(site: Site, crowd: Crowd, what: str) -> None:
    task = a_task(site)
    liar = site.host()
    job = job_of(site, crowd, liar, task)
    lie(crowd, liar, job, OUTPUTS[what](liar, job, crowd.do(liar.fetch(job))))
    then_the_truth_wins(crowd, site, task)


def test_a_pickle_from_outside_is_decoded_by_nobody(
    site: Site, crowd: Crowd, tmp_path: Path
) -> None:
    """Also where as many liars agree as must: it is refused when it comes, and no trap springs."""
    flag = tmp_path / FLAG
    mine = pickle.dumps(Trap(str(flag)))
    task = a_task(site)
    for _ in range(3):
        liar = site.host()
        liar.making = lambda errand: success(errand, mine, codec="pickle")  # type: ignore[arg-type]
        do(site, crowd, liar, task)
    then_the_truth_wins(crowd, site, task)
    assert not flag.exists()


def test_what_was_uploaded_counts_whatever_is_said_of_it_later(
    site: Site, crowd: Crowd
) -> None:
    """A client that lost power after its upload makes another file, and reports that one's digest."""
    task = a_task(site)
    for told in ({"md5": "0" * 32}, {"nbytes": 7}):
        host = site.host()
        job = job_of(site, crowd, host, task)
        lie(crowd, host, job, host.make(job, crowd.do(host.fetch(job))), **told)
    assert site.result(task) == task.name


def test_an_upload_with_another_digest_than_its_head_says(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    job = job_of(site, crowd, host, task)
    data = host.make(job, crowd.do(host.fetch(job)))
    assert crowd.do(host.upload(job, data, md5="0" * 32)) == 1  # "try again later"
    assert crowd.do(host.stored(job)) == 0
    crowd.do(host.turn(job))
    crowd.do(host.poll(seconds=0))
    do(site, crowd, other, task)
    assert site.result(task) == task.name


def test_a_report_without_an_upload(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    liar = site.host()
    job = job_of(site, crowd, liar, task)
    liar.finish(job, liar.make(job, crowd.do(liar.fetch(job))))
    crowd.do(liar.poll(seconds=0))
    assert job.name in liar.reported
    then_the_truth_wins(crowd, site, task)


def test_an_upload_needs_the_token_of_its_name(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    mine, theirs = job_of(site, crowd, host, task), job_of(site, crowd, other, task)
    data = host.make(mine, crowd.do(host.fetch(mine)))
    for lies in (
        {"token": theirs.token},
        {"token": ""},
        {"name": theirs.output},
        {"name": "../../../etc/passwd"},
        {"name": "/etc/passwd"},
        {"name": "x" * 5000},
        {"nbytes": 1 << 62},
        {"nbytes": -1},
        {"max_nbytes": 1 << 62, "nbytes": mine.max_nbytes + 1},
        {"offset": 5},
        {"offset": -1},
    ):
        status = crowd.do(host.upload(mine, data, **lies))
        assert status != 0, lies
    assert crowd.do(host.stored(replace(mine, output="../../front.db"))) <= 0
    for each in (host, other):
        for job in list(each.state.jobs.values()):
            crowd.do(each.turn(job))
        crowd.do(each.poll(seconds=0))
    assert site.result(task) == task.name


def test_what_a_client_calls_itself_leads_nowhere(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    odd = ["../../x", "<b>bold</b>", "a" * 5000, "\x1b[31mred", "'; drop table hosts; --", ""]
    hosts = [site.host(owner="people", domain_name=each, os_name=each) for each in odd]
    for each in hosts:
        crowd.do(each.poll(seconds=0))
    page = crowd.do(hosts[0].wire.ask(site.url)).body.decode()
    assert "<b>bold" not in page
    assert "\x1b" not in page
    table = site.daemon.ctl("hosts").stdout
    assert "\x1b" not in table
    then_the_truth_wins(crowd, site, task)


def test_votes_of_liars_are_outvoted(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    liar = site.host()
    liar.making = lambda errand: success(errand, "something else")
    do(site, crowd, liar, task)
    then_the_truth_wins(crowd, site, task)
    verdicts = [each["verdict"] for each in _votes(site, task.id)]
    assert verdicts.count("invalid") == 1
    assert named


def _votes(site: Site, task: str) -> list[dict[str, Any]]:
    [told] = site.daemon.ctl_json("votes", task)
    votes = told["votes"]
    assert isinstance(votes, dict)
    return list(votes["replicas"])


def test_requests_that_are_none(site: Site, crowd: Crowd) -> None:
    """Whatever is sent, the answer is one, and those who behave are served."""
    host = site.host()
    crowd.do(host.attach())
    for url in (host.scheduler, f"{site.url}upload/file_upload_handler"):
        for body in (b"", b"\0" * 1000, b"<scheduler_request>", b"<a>" * 100_000, b"\xff\xfe"):
            answer = crowd.do(host.wire.ask(url, body))
            assert answer.status in (200, 400, 413), (url, body[:20], answer)
    for path in ("download/../front.db", "download/%2e%2e/front.db", "download/x", "../", "?"):
        assert crowd.do(host.wire.ask(f"{site.url}{path}")).status in (200, 400, 404)
    task = a_task(site)
    then_the_truth_wins(crowd, site, task)
