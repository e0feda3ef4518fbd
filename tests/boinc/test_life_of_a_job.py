"""One job and its host, step by step, with a client that checks what it is given."""

from __future__ import annotations

import os

import pytest

from spoolmw.client.future import SpoolTask
from tests.support.boinchttp import Cut
from tests.support.boincsite import Crowd, Site
from tests.support.fakeclient import FAILED, FETCH_FAILED, FakeHost, Job
from tests.support.fakework import success
from tests.support.waiting import wait_until


def nothing() -> None:
    pass


def a_task(site: Site, **options: object) -> SpoolTask:
    told = {"quorum": 2, "limit": 6, "max_errors": 3, **options}
    return site.spool.options(**told).submit(nothing)  # type: ignore[arg-type]


def job_of(site: Site, crowd: Crowd, host: FakeHost, task: SpoolTask) -> Job:
    """The host asks until it has a job of this task."""

    def found() -> list[Job]:
        crowd.do(host.poll())
        return [job for name, job in host.state.jobs.items() if name.startswith(task.id)]

    return wait_until(found, timeout_s=30, last=lambda: site.about(task))[0]


def do(site: Site, crowd: Crowd, host: FakeHost, task: SpoolTask) -> str:
    """The host gets a job of the task, makes it, uploads and reports; the job's name."""
    job = job_of(site, crowd, host, task)
    crowd.do(host.turn(job))
    crowd.do(host.poll(seconds=0))
    assert job.name in host.reported
    return job.name


def two_hosts(site: Site) -> tuple[FakeHost, FakeHost]:
    return site.host(), site.host()


def test_two_hosts_that_agree_make_a_result(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    names = [do(site, crowd, host, task) for host in two_hosts(site)]
    assert site.result(task) == task.name
    assert sorted(names) == [f"{task.id}.{replica}.1" for replica in (0, 1)]
    assert [each["outcome"] for each in site.attempts(task.id)] == ["success", "success"]


def test_a_host_never_gets_two_replicas_of_a_task(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    do(site, crowd, host, task)
    for _ in range(5):
        assert crowd.do(host.poll()).jobs == []
    do(site, crowd, other, task)
    site.result(task)


def test_neither_do_two_hosts_of_one_owner_where_owners_must_differ(
    site: Site, crowd: Crowd
) -> None:
    task = a_task(site, distinct="owner")
    first, second = site.host(owner="eve"), site.host(owner="eve")
    do(site, crowd, first, task)
    for _ in range(5):
        assert crowd.do(second.poll()).jobs == []
    do(site, crowd, site.host(owner="bob"), task)
    site.result(task)


def test_a_large_output_that_is_cut_off_goes_on_where_it_was(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    data = os.urandom(300_000)
    for host in two_hosts(site):
        host.making = lambda errand: success(errand, data)
        job = job_of(site, crowd, host, task)
        output = big_output(crowd, host, job)
        with pytest.raises(Cut):
            crowd.do(host.upload(job, output, cut_after=200_000))
        stored = wait_until(lambda h=host, j=job: crowd.do(h.stored(j)))
        assert 0 < stored <= 200_000
        assert crowd.do(host.upload(job, output)) == 0
        assert crowd.do(host.stored(job)) == len(output)
        host.finish(job, output)
        crowd.do(host.poll(seconds=0))
    assert site.result(task) == data


def big_output(crowd: Crowd, host: FakeHost, job: Job) -> bytes:
    """What the host makes, with a result that is too large for a report."""
    return host.make(job, crowd.do(host.fetch(job)))


def test_downloads_come_in_parts_too(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    job = job_of(site, crowd, host, task)
    for file in job.files:
        whole = crowd.do(host.download(file))
        assert crowd.do(host.download(file, resumes_at=max(1, len(whole) // 3))) == whole
    crowd.do(host.turn(job))
    crowd.do(host.poll(seconds=0))
    do(site, crowd, other, task)
    site.result(task)


def test_what_is_reported_twice_counts_once_and_is_acknowledged(
    site: Site, crowd: Crowd
) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    job = job_of(site, crowd, host, task)
    output = big_output(crowd, host, job)
    assert crowd.do(host.upload(job, output)) == 0
    for _ in range(3):
        host.finish(job, output)
        assert job.name in crowd.do(host.poll(seconds=0)).acks
    do(site, crowd, other, task)
    site.result(task)
    host.finish(job, output)
    assert job.name in crowd.do(host.poll(seconds=0)).acks
    assert len(site.attempts(task.id)) == 2


def test_reports_of_unknown_names_are_acknowledged_and_mean_nothing(
    site: Site, crowd: Crowd
) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    job = job_of(site, crowd, host, task)
    crowd.do(other.poll(seconds=0))
    other.state.jobs.clear()
    other.state.jobs[job.name] = job
    other.finish(job, b"not mine")
    other.finish(Job(**{**vars(job), "name": "never_was_there"}))
    acks = crowd.do(other.poll(seconds=0)).acks
    assert {job.name, "never_was_there"} <= set(acks)
    crowd.do(host.turn(job))
    crowd.do(host.poll(seconds=0))
    do(site, crowd, other, task)
    site.result(task)


def test_jobs_that_a_client_forgot_are_sent_again(site: Site, crowd: Crowd) -> None:
    task = a_task(site)
    host, other = two_hosts(site)
    job = job_of(site, crowd, host, task)
    host.reset()
    again = crowd.do(host.poll(seconds=0)).jobs
    assert [each.name for each in again] == [job.name]
    assert again[0].token == job.token
    crowd.do(host.turn(again[0]))
    crowd.do(host.poll(seconds=0))
    do(site, crowd, other, task)
    site.result(task)
    assert len(site.attempts(task.id)) == 2


def test_a_client_that_was_restored_from_a_backup_is_another_host(
    site: Site, crowd: Crowd
) -> None:
    host = site.host()
    crowd.do(host.poll(seconds=0))
    for _ in range(3):
        crowd.do(host.poll(seconds=0))
    kept = host.backup()
    for _ in range(3):
        crowd.do(host.poll(seconds=0))
    before = host.state.host_id
    host.restore(kept)
    crowd.do(host.poll(seconds=0))
    assert host.state.host_id != before


def test_a_wrong_key_is_told_to_people_and_keeps_the_client_away(
    site: Site, crowd: Crowd
) -> None:
    host = FakeHost(site.url, "0123456789abcdef" * 2)
    reply = crowd.do(host.poll())
    assert reply.jobs == []
    assert "key" in " ".join(reply.messages)
    assert 0 < reply.delay_s <= 3600


def test_a_revoked_account_gets_nothing_more(site: Site, crowd: Crowd) -> None:
    host = site.host(owner="mallory")
    assert crowd.do(host.poll()).messages == []
    site.revoke("mallory")
    task = a_task(site)

    def is_refused() -> bool:
        reply = crowd.do(host.poll())
        assert reply.jobs == []
        return bool(reply.messages)

    wait_until(is_refused)
    for each in two_hosts(site):
        do(site, crowd, each, task)
    site.result(task)


def test_a_host_that_fails_is_not_to_blame_the_task_for(site: Site, crowd: Crowd) -> None:
    """A client's own errors (a download that is damaged, an abort by hand) are losses."""
    task = a_task(site)
    bad = site.host()
    job = job_of(site, crowd, bad, task)
    bad.fail(job, state=FETCH_FAILED, exit_status=-186, stderr="\x01\x1b ]]> MD5 check failed")
    assert job.name in crowd.do(bad.poll(seconds=0)).acks
    worse = site.host()
    job = job_of(site, crowd, worse, task)
    worse.fail(job, state=FAILED, exit_status=1)
    assert job.name in crowd.do(worse.poll(seconds=0)).acks
    for each in two_hosts(site):
        do(site, crowd, each, task)
    assert site.result(task) == task.name


def test_a_superfluous_replica_is_aborted(site: Site, crowd: Crowd) -> None:
    task = a_task(site, target=3)
    late = site.host()
    job = job_of(site, crowd, late, task)
    for each in two_hosts(site):
        do(site, crowd, each, task)
    site.result(task)

    def aborted() -> list[str]:
        return crowd.do(late.poll(seconds=0)).aborts

    assert wait_until(aborted) == [job.name]
    crowd.do(late.poll(seconds=0))
    assert job.name in late.reported
    assert crowd.do(late.poll(seconds=0)).aborts == []
