"""Hosts that are silent for too long, and what they say after all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boinc.test_life_of_a_job import a_task, do, job_of, two_hosts
from tests.support.boincsite import Crowd, Site
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hasty"), more='deadline = "2s"') as made:
        yield made


def lost(site: Site, task: str) -> list[str]:
    """What is said of the attempts that were given up."""
    return [str(each["message"]) for each in site.attempts(task) if each["outcome"] == "lost"]


def test_a_host_that_vanishes_costs_its_replica_a_deadline(hasty: Site, crowd: Crowd) -> None:
    task = a_task(hasty)
    gone, here = two_hosts(hasty)
    job_of(hasty, crowd, gone, task)
    do(hasty, crowd, here, task)
    wait_until(lambda: lost(hasty, task.id), last=lambda: hasty.about(task))
    assert "no report" in lost(hasty, task.id)[0]
    do(hasty, crowd, hasty.host(), task)
    assert hasty.result(task) == task.name


def test_a_report_that_is_late_counts_while_the_task_needs_one(
    hasty: Site, crowd: Crowd
) -> None:
    task = a_task(hasty)
    late, here = two_hosts(hasty)
    job = job_of(hasty, crowd, late, task)
    do(hasty, crowd, here, task)
    wait_until(lambda: lost(hasty, task.id), last=lambda: hasty.about(task))
    crowd.do(late.turn(job))
    crowd.do(late.poll(seconds=0))
    assert job.name in late.reported
    assert hasty.result(task) == task.name


def test_a_report_that_is_late_changes_nothing_that_is_over(hasty: Site, crowd: Crowd) -> None:
    task = a_task(hasty)
    late, here = two_hosts(hasty)
    job = job_of(hasty, crowd, late, task)
    do(hasty, crowd, here, task)
    wait_until(lambda: lost(hasty, task.id), last=lambda: hasty.about(task))
    do(hasty, crowd, hasty.host(), task)
    assert hasty.result(task) == task.name
    before = len(hasty.attempts(task.id))
    late.state.jobs[job.name] = job
    crowd.do(late.poll(seconds=0))  # it may be told to end it
    late.finish(job)
    crowd.do(late.poll(seconds=0))
    assert job.name in late.reported
    assert len(hasty.attempts(task.id)) == before
