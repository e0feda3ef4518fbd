"""What runs on hosts that are anybody's, what does not, and what their results are worth."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from spoolmw.client.future import SpoolTask
from spoolmw.errors import TaskFailed
from spoolmw.format.resultfile import read_trailer
from tests.support.boincsite import AGENT, Crowd, Site
from tests.support.runninghost import RunningHost
from tests.support.waiting import wait_until


class Own:
    """A value that only a pickle can carry."""


def walk(steps: int) -> list[float]:
    source = random.Random(steps)
    return [source.gauss(0.0, 1.0) for _ in range(steps)]


def refuse() -> None:
    raise LookupError("told")


@pytest.fixture(scope="module")
def hosts(
    site: Site, crowd: Crowd, tmp_path_factory: pytest.TempPathFactory
) -> list[RunningHost]:
    """Two desktops of two people."""
    made = [
        RunningHost(
            site.url, site.key(owner), tmp_path_factory.mktemp(owner), name=f"pc-{owner}"
        )
        for owner in ("ann", "bea")
    ]
    crowd.live(*made)
    return made


def waits_because(site: Site, task: SpoolTask) -> str:
    def why() -> str:
        told = site.daemon.ctl("why", task.id, check=False).stdout
        return told if "no agent fits" in told else ""

    return str(wait_until(why, last=site.daemon.log_text))


def test_two_hosts_agree_on_a_value_that_nobody_has_to_unpickle(
    site: Site, hosts: list[RunningHost]
) -> None:
    task = site.spool.options(quorum=2, keep=True).submit(walk, 100)
    assert site.result(task, 60) == walk(100)
    trailer = read_trailer(task.path)
    assert trailer["trusted"] is False
    assert {each["host"].partition("-")[0] for each in trailer["replicas"]} == {"pc"}
    assert len({each["machine"] for each in trailer["replicas"]}) == 2
    for replica in trailer["replicas"]:
        assert [each["trusted"] for each in replica["attempts"]] == [False]


def test_owners_count_where_the_task_says_so(site: Site, hosts: list[RunningHost]) -> None:
    task = site.spool.options(quorum=2, distinct="owner").submit(walk, 10)
    assert site.result(task, 60) == walk(10)


def test_what_only_a_pickle_can_carry_is_an_error_that_says_what_can_be_returned(
    site: Site, hosts: list[RunningHost]
) -> None:
    task = site.spool.options(quorum=2, retries=0).submit(Own)
    with pytest.raises(TaskFailed, match="volunteers"):
        site.result(task, 60)


def test_an_exception_is_told_as_text(site: Site, hosts: list[RunningHost]) -> None:
    task = site.spool.options(quorum=2, retries=0).submit(refuse)
    with pytest.raises(TaskFailed, match="LookupError: told"):
        site.result(task, 60)


@pytest.mark.parametrize("wish", [{}, {"quorum": 2, "result": "pickle"}])
def test_what_is_one_hosts_word_or_a_pickle_waits_and_says_why(
    site: Site, wish: dict[str, object]
) -> None:
    task = site.spool.options(**wish).submit(walk, 1)
    assert f"{AGENT} is not trusted: it takes only tasks with" in waits_because(site, task)
    task.cancel()


def test_people_see_whose_hosts_called_and_that_they_are_not_trusted(
    site: Site, hosts: list[RunningHost]
) -> None:
    def came() -> dict[str, dict[str, object]]:
        shown = site.daemon.ctl_json("hosts")
        rows = [each for each in shown if each["came"]]
        return {each["came"]["owner"]: {**each, **each["came"]} for each in rows}  # type: ignore[call-overload,dict-item]

    wait_until(lambda: {"ann", "bea"} <= came().keys(), timeout_s=60, last=came)
    for owner in ("ann", "bea"):
        told = came()[owner]
        assert (told["trusted"], told["platform"], told["agent"]) == (
            False,
            "linux-x86_64",
            AGENT,
        )
        assert told["succeeded"], "what it did stands in the same row"
    assert "ann" in site.daemon.ctl("hosts").stdout


def test_doctor_finds_the_project_where_clients_do(site: Site, tmp_path: Path) -> None:
    said = site.daemon.ctl("doctor", check=False).stdout
    assert f"clients find the project at {site.url}" in said
    assert "keys and accounts are private" in said
