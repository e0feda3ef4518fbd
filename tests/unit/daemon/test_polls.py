"""What may be decided by hand and when, asked for as over the control socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.agents.fake import FakeAgent
from spoolmw.config import AgentConfig, Config, Intake
from spoolmw.daemon.polls import MOST_GRANTED
from spoolmw.errors import SpoolmwError
from spoolmw.model.host import HostRecord
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.runner import results
from tests.support.bench import Bench

HOSTS = ("lab", "pc02", "pc03")
CONFIG = Config(
    agents=tuple(
        AgentConfig(name=name, kind="fake", slots=2, machine=f"machine-{name}")
        for name in HOSTS
    ),
    intake=Intake(settle_s=0.0),
)
SCRIPT = "#!/bin/sh\n#SPOOLMW quorum = 2\n#SPOOLMW limit = 2\ntrue\n"


class Poll(Bench):
    """A daemon with three hosts, and one task whose results are compared."""

    def agents(self) -> list[FakeAgent]:
        found = [self.parts.agents[AgentName(name)] for name in HOSTS]
        assert all(isinstance(each, FakeAgent) for each in found)
        return found  # type: ignore[return-value]

    def launched(self) -> list[AttemptId]:
        return [each.attempt for agent in self.agents() for each in agent.launched]

    def report(self, *values: str) -> None:
        """The replicas that run end, printing these."""
        running = [
            (agent, each.attempt)
            for agent in self.agents()
            for each in agent.launched
            if each.attempt in {s.attempt for s in agent.sightings()} and each.judging is None
        ]
        for (agent, attempt), value in zip(running, values, strict=False):
            ended = results.Ended()
            ended.files = []
            agent.finish(attempt, ended)
            folder = self.layout.stage / f"{attempt}.files"
            (folder / "stdout").write_text(value)
        self.ticks()

    def judge(self) -> None:
        """Whoever was asked compares what is there."""
        for agent in self.agents():
            for each in list(agent.launched):
                if each.judging is not None and any(
                    s.attempt == each.attempt for s in agent.sightings()
                ):
                    agent.judge(each.attempt)

    def second_name(self) -> str:
        """The name of the next result of the task `job`; waits for it."""
        self.until(lambda: list(self.layout.results.glob("job.*.result")))
        [found] = self.layout.results.glob("job.*.result")
        return found.name.removesuffix(".result")

    def adjudicate(self, task: str, **how: object) -> tuple[bool, str]:
        told = self.ask("adjudicate", id=task, **how)
        assert isinstance(told, dict)
        return bool(told["ok"]), str(told["text"])


@pytest.fixture
def poll(tmp_path: Path) -> Iterator[Poll]:
    made = Poll(tmp_path, CONFIG)
    yield made
    made.close()


def given_up(poll: Poll, *, committed: bool = True) -> str:
    poll.drop("job", SCRIPT)
    poll.until(lambda: len(poll.launched()) == 2)
    task = poll.only_id()
    poll.report("one", "two")
    poll.judge()
    poll.until(lambda: poll.delivered("job"))
    assert poll.trailer("job")["state"] == "failed"
    if committed:
        poll.until(lambda: not list(poll.parts.table))
        poll.ticks()
    return task


def test_a_vote_that_was_given_up_is_taken_up_with_a_name_of_its_own(poll: Poll) -> None:
    task = given_up(poll)
    assert poll.adjudicate(task, accept=1) == (
        True,
        "the result of replica 1 was accepted; it is delivering",
    )
    name = poll.second_name()
    assert poll.trailer(name)["state"] == "done"
    assert poll.trailer("job")["state"] == "failed"
    stdout = poll.layout.results / f"{name}.files" / "stdout"
    assert stdout.read_text() == "two"
    lines = poll.layout.done_log.read_text().splitlines()
    assert len(lines) == 3, "it failed, was taken up, and is done"


def test_it_may_be_decided_when_the_daemon_died_in_the_moment_it_was_given_up(
    poll: Poll,
) -> None:
    task = given_up(poll, committed=False)
    poll.close()
    poll.start()
    poll.ticks()
    assert poll.adjudicate(task, accept=1)[0]
    assert poll.trailer(poll.second_name())["state"] == "done"


def test_more_replicas_go_where_none_was(poll: Poll) -> None:
    task = given_up(poll)
    used = {agent.name for agent in poll.agents() if agent.launched}
    assert poll.adjudicate(task, more=1)[0]
    poll.until(lambda: any(each.replica == 2 for each in poll.launched()))
    [third] = [agent for agent in poll.agents() if agent.name not in used]
    assert [each.attempt.replica for each in third.launched if each.judging is None] == [2]
    poll.report("two")
    poll.judge()
    assert poll.trailer(poll.second_name())["state"] == "done"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"accept": 5}, "there is no replica 5"),
        ({"accept": -1}, "there is no replica -1"),
        ({"fail": True}, "it is failed"),
    ],
)
def test_what_cannot_be_is_answered_with_the_reason(
    poll: Poll, how: dict[str, object], text: str
) -> None:
    task = given_up(poll)
    ok, told = poll.adjudicate(task, **how)
    assert not ok
    assert text in told


def test_what_failed_before_its_vote_began_is_not_decided_by_hand(poll: Poll) -> None:
    poll.drop("first", '#!/bin/sh\n#SPOOLMW name = "first"\ntrue\n')
    poll.drop("job", SCRIPT.replace("limit = 2", 'limit = 2\n#SPOOLMW after = ["first"]'))
    poll.until(lambda: poll.launched() and len(poll.parts.table) == 2)
    [job] = [task.id for task in poll.parts.table if task.ballot is not None]
    [first] = poll.launched()
    poll.ask("cancel", ids=[first.task])
    poll.until(lambda: poll.delivered("job") and not len(poll.parts.table))
    told = poll.layout.done_log.read_text()
    assert poll.adjudicate(job, more=1) == (False, "it is failed, and not by its vote")
    assert poll.layout.done_log.read_text() == told


def test_a_result_that_is_gone_cannot_be_accepted(poll: Poll) -> None:
    task = given_up(poll)
    (poll.layout.stage / f"{task}.0.1").unlink()
    assert poll.adjudicate(task, accept=0) == (False, "the result of replica 0 is gone")


def test_replicas_are_not_granted_without_end(poll: Poll) -> None:
    poll.drop("job", SCRIPT)
    poll.until(lambda: len(poll.launched()) == 2)
    task = poll.only_id()
    for _ in range((MOST_GRANTED - 2) // 100):
        assert poll.adjudicate(task, more=100)[0]
    ok, told = poll.adjudicate(task, more=100)
    assert not ok
    assert str(MOST_GRANTED) in told


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"accept": 1, "more": 1},
        {"accept": "1"},
        {"accept": True},
        {"more": 0},
        {"more": 101},
        {"more": 1.5},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(poll: Poll, how: dict[str, object]) -> None:
    poll.drop("job", SCRIPT)
    poll.until(lambda: len(poll.launched()) == 2)
    told = poll.ask("adjudicate", id=poll.only_id(), **how)
    assert isinstance(told, SpoolmwError)


def test_a_task_without_a_vote_is_told_so(poll: Poll) -> None:
    poll.drop("plain")
    poll.until(lambda: len(poll.launched()) == 1)
    ok, told = poll.adjudicate(poll.only_id(), more=1)
    assert (ok, told) == (False, "it has no vote: it did not ask for redundancy")


def test_a_host_that_never_had_a_verdict_can_be_paused_by_its_machine_over_a_restart(
    poll: Poll,
) -> None:
    assert poll.ask("pause", host="machine-pc02") == {"paused_hosts": ["machine-pc02"]}
    poll.close()
    poll.start()
    poll.drop("job", SCRIPT)
    poll.until(lambda: len(poll.launched()) == 2)
    second = poll.agents()[1]
    assert second.launched == []
    assert poll.ask("resume", host="machine-pc02") == {"paused_hosts": []}


def test_a_name_that_two_hosts_have_is_refused(poll: Poll) -> None:
    for machine in ("m1", "m2"):
        poll.parts.reactor.hosts.put(HostRecord(machine=machine, name="pc"))
    told = poll.ask("pause", host="pc")
    assert isinstance(told, SpoolmwError)
    assert "2 hosts are called 'pc'" in told.what
    assert "m1, m2" in told.why
