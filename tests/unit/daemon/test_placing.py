"""Where the replicas of a task are placed, and when: a daemon's parts with fake agents as hosts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.agents.fake import FakeAgent
from spoolmw.config import AgentConfig, Config, Intake
from spoolmw.daemon import rebuild
from spoolmw.daemon.clock import wall_s
from spoolmw.model.host import HostRecord
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.replica import Replica, ReplicaState
from spoolmw.model.task import Task, TaskState
from spoolmw.runner import results, safe
from spoolmw.runner.results import Ended
from tests.support.bench import Bench


def a_config(*machines: str, slots: int = 2) -> Config:
    """Agents lab, far and den, as many as there are machines, which they stand on."""
    names = ("lab", "far", "den")
    agents = tuple(
        AgentConfig(name=name, kind="fake", slots=slots, machine=machine)
        for name, machine in zip(names, machines, strict=False)
    )
    return Config(agents=agents, intake=Intake(settle_s=0.0))


class Pool(Bench):
    """A bench whose agents are the hosts."""

    def hosts(self) -> list[FakeAgent]:
        agents = self.parts.agents.values()
        return [agent for agent in agents if isinstance(agent, FakeAgent)]

    def host(self, name: str) -> FakeAgent:
        agent = self.parts.agents[AgentName(name)]
        assert isinstance(agent, FakeAgent)
        return agent

    def drop_vote(self, name: str = "sum", *wishes: str, quorum: int = 2) -> None:
        lines = "".join(f"#SPOOLMW {wish}\n" for wish in wishes)
        self.drop(name, f"#!/bin/sh\n#SPOOLMW redundancy.quorum = {quorum}\n{lines}true\n")
        self.until(lambda: any(task.spec.name == name for task in self.parts.table))
        self.ticks(2)

    def task(self, name: str = "sum") -> Task:
        [task] = [each for each in self.parts.table if each.spec.name == name]
        return task

    def replicas(self, name: str = "sum") -> tuple[Replica, ...]:
        ballot = self.task(name).ballot
        assert ballot is not None
        return ballot.replicas

    def running(self, name: str = "sum") -> dict[int, str]:
        """The replicas that run, each with its machine's name."""
        return {
            each.number: each.spot.host
            for each in self.replicas(name)
            if each.lease is not None and each.spot is not None
        }

    def where(self, attempt: AttemptId) -> FakeAgent:
        [agent] = [
            host
            for host in self.hosts()
            if attempt in [each.attempt for each in host.sightings()]
        ]
        return agent

    def finish(self, number: int, value: object = "right", name: str = "sum") -> None:
        attempt = self.replicas(name)[number].attempt_id
        ended = Ended()
        ended.codec, ended.value = "safe", safe.parts(value)
        self.where(attempt).finish(attempt, ended)

    def why(self, name: str = "sum") -> str:
        told = self.ask("why", id=self.task(name).id)
        assert isinstance(told, dict)
        return str(told["reason"])

    def is_empty(self) -> bool:
        rooms = self.parts.reactor.dispatch.rooms.values()
        return all((room.attempts, room.replicas, room.cpus) == (0, 0, 0) for room in rooms)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path, a_config("pc01", "pc02", "pc03"))
    yield made
    made.close()


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Pool]:
    """Two agents that reach the same machine."""
    made = Pool(tmp_path, a_config("pc01", "pc01"))
    yield made
    made.close()


def test_replicas_of_one_task_run_on_different_machines(pool: Pool) -> None:
    pool.drop_vote(quorum=3)
    assert set(pool.running().values()) == {"pc01", "pc02", "pc03"}


def test_two_agents_that_reach_one_machine_are_one_host(twins: Pool) -> None:
    twins.drop_vote()
    assert twins.running() == {0: "pc01"}
    assert twins.why() == "needs a second host: tried pc01 (replica 0 runs on pc01)"


def test_no_replica_waits_where_its_task_has_a_vote_already(pool: Pool) -> None:
    pool.drop_vote()
    assert len(pool.running()) == 2
    pool.finish(0)
    pool.ticks()
    [first, second] = pool.replicas()
    assert first.state is ReplicaState.REPORTED
    assert second.state is ReplicaState.RUNNING
    assert pool.task().state is TaskState.RUNNING


def test_what_agreed_is_delivered_and_all_room_is_given_back(pool: Pool) -> None:
    pool.drop_vote()
    pool.finish(0)
    pool.finish(1)
    pool.until(lambda: pool.delivered("sum"))
    pool.until(lambda: not len(pool.parts.table))
    assert pool.trailer("sum")["state"] == "done"
    assert pool.is_empty()


def test_one_that_finds_no_host_holds_nobody_up(twins: Pool) -> None:
    twins.drop_vote()
    twins.drop("plain")
    twins.until(lambda: any(task.spec.name == "plain" for task in twins.parts.table))
    twins.ticks(2)
    assert twins.task("plain").state is TaskState.RUNNING
    assert len(twins.running()) == 1


def test_a_replica_that_waits_for_a_busy_host_is_not_starved(pool: Pool) -> None:
    """It keeps its place: what came later does not take the room that it waits for."""
    for number in range(4):
        pool.drop(f"busy{number}")
    pool.until(lambda: len(pool.parts.table) == 4)
    pool.drop_vote(quorum=3)
    for number in range(4):
        pool.drop(f"later{number}")
    pool.until(lambda: len(pool.parts.table) == 9)
    pool.ticks(2)
    running = [t.spec.name for t in pool.parts.table if t.state is TaskState.RUNNING]
    assert len(pool.running()) >= 2
    assert len(pool.running()) == 3 or not any(name.startswith("later") for name in running)


def test_a_missed_deadline_makes_another_replica_and_the_old_one_may_yet_report(
    pool: Pool,
) -> None:
    pool.drop_vote("sum", 'redundancy.deadline = "1s"')
    assert len(pool.replicas()) == 2
    pool.finish(0)
    pool.until(lambda: len(pool.replicas()) == 3)
    assert pool.replicas()[1].overdue
    pool.ticks(2)
    assert len(set(pool.running().values())) == 2
    assert "replica 1 runs on" in pool.why()
    assert "beyond its deadline" in pool.why()
    pool.finish(1)
    pool.until(lambda: pool.delivered("sum"))
    pool.until(lambda: not len(pool.parts.table))
    assert pool.is_empty()


def set_record(pool: Pool, name: str, **changes: object) -> None:
    machine = pool.host(name).capacity().machine
    record = HostRecord(machine=machine, **changes)  # type: ignore[arg-type]
    pool.parts.reactor.hosts.put(record)


def test_a_paused_host_gets_nothing_at_all(twins: Pool) -> None:
    set_record(twins, "lab", paused="too many faults", probe_at=wall_s() + 1000)
    twins.drop("plain")
    twins.drop_vote()
    twins.ticks(2)
    assert twins.task("plain").state is TaskState.QUEUED
    assert twins.running() == {}
    told = (
        "paused: lab (its host is paused: too many faults); far (its host is paused: too many"
    )
    assert twins.why("plain").startswith(told)
    assert {row["reason"] for row in twins.ask("agents")["agents"]} == {
        "its host is paused: too many faults"
    }


def test_a_host_that_is_due_for_a_probe_gets_one_replica_and_no_more(twins: Pool) -> None:
    set_record(twins, "lab", paused="too many faults", probe_at=wall_s() - 1)
    twins.drop("plain")
    twins.drop_vote("sum")
    twins.drop_vote("other")
    assert len(twins.running("sum")) + len(twins.running("other")) == 1
    assert twins.task("plain").state is TaskState.QUEUED


def test_who_was_paused_by_hand_gets_no_probe(twins: Pool) -> None:
    set_record(twins, "lab", paused="by ann", paused_by_hand=True)
    twins.drop_vote()
    assert twins.running() == {}


def test_a_trusted_host_runs_a_replica_alone(pool: Pool) -> None:
    for each in pool.hosts():
        set_record(pool, each.name, consecutive_valid=10**12)
    pool.drop_vote("sum", "redundancy.adaptive = true")
    assert len(pool.replicas()) == 1
    pool.finish(0)
    pool.until(lambda: pool.delivered("sum"))


def test_a_host_that_nobody_knows_is_not_trusted(pool: Pool) -> None:
    pool.drop_vote("sum", "redundancy.adaptive = true")
    assert len(pool.running()) == 2


def test_a_machine_has_as_many_seats_as_slots_where_slots_are_enough(twins: Pool) -> None:
    twins.drop_vote("sum", 'redundancy.distinct = "slot"', quorum=3)
    assert set(twins.running()) == {0, 1}


def test_each_replica_tells_how_far_it_is(pool: Pool) -> None:
    pool.drop_vote()
    for number, fraction in ((0, 0.25), (1, 0.5)):
        attempt = pool.replicas()[number].attempt_id
        pool.where(attempt).progress(attempt, fraction)
    pool.ticks(2)
    hearing = pool.parts.reactor.hearing
    told = hearing.progress(pool.task().id)
    assert told is not None
    assert told.fraction == 0.5
    pool.finish(1)
    pool.ticks(2)
    told = hearing.progress(pool.task().id)
    assert told is not None
    assert told.fraction == 0.25


def test_a_lost_host_is_replaced_and_the_replica_goes_elsewhere(pool: Pool) -> None:
    pool.drop_vote()
    attempt = pool.replicas()[0].attempt_id
    first = pool.where(attempt)
    first.unplug()
    pool.until(lambda: pool.replicas()[0].attempt == 2)
    pool.ticks(2)
    assert len(set(pool.running().values())) == 2
    assert pool.where(pool.replicas()[0].attempt_id) is not first


def test_a_held_vote_places_nothing_until_it_is_released(pool: Pool) -> None:
    pool.drop_vote()
    pool.ask("hold", ids=[pool.task().id])
    pool.ticks(3)
    assert pool.running() == {}
    assert pool.is_empty()
    pool.ask("release", ids=[pool.task().id])
    pool.until(lambda: len(pool.running()) == 2)


def test_the_output_of_each_replica_can_be_followed(pool: Pool) -> None:
    pool.drop_vote()
    for number in (0, 1):
        attempt = pool.replicas()[number].attempt_id
        pool.where(attempt).prints(attempt, b"I am %d" % number)
    for asked, text in (({}, b"I am 0"), ({"replica": 1}, b"I am 1"), ({"replica": 7}, b"")):
        told = pool.ask("tail", id=pool.task().id, offset=0, **asked)
        assert isinstance(told, dict)
        assert (base64.b64decode(told["data"]), told["running"]) == (text, bool(text))


def test_what_is_next_tells_how_far_the_furthest_replica_is(pool: Pool) -> None:
    pool.drop_vote()
    attempt = pool.replicas()[1].attempt_id
    pool.where(attempt).progress(attempt, 0.5)
    pool.ticks(2)
    assert pool.why().endswith("(50 % done)")


def test_an_agent_whose_launches_fail_rests_and_is_tried_again_by_itself(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be given every task first: it is empty because nothing can be started there."""
    monkeypatch.setattr("spoolmw.daemon.resting.FIRST_S", 3.0)
    bad = pool.host("lab")
    for number in range(20):
        pool.drop(f"{number}.sh")
    refused: set[AttemptId] = set()

    def work(*, is_mended: bool = False) -> None:
        pool.ticks()
        for host in pool.hosts():
            for each in [each.attempt for each in host.sightings()]:
                if host is bad and not is_mended:
                    refused.add(each)
                    host.finish(each, results.refused("no space left on device"))
                elif host is bad or is_mended:
                    host.finish(each)

    def reason() -> str:
        [row] = [each for each in pool.ask("agents")["agents"] if each["name"] == "lab"]
        return str(row["reason"])

    pool.until(lambda: work() or reason())
    assert reason() == (
        "paused: its last 5 launches failed, tried again after 3 s: no space left on device"
    )
    assert len(refused) <= 6, "two slots: one more may have been under way"
    pool.until(lambda: pool.ticks() or bad.launched[-1].attempt not in refused)
    pool.until(lambda: work(is_mended=True) or not len(pool.parts.table))
    assert reason() == ""
    assert {pool.trailer(f"{number}.sh")["state"] for number in range(20)} == {"done"}


def distrust(pool: Pool, name: str) -> None:
    """From now on the hosts of an agent are anybody's."""
    rooms = pool.parts.reactor.dispatch.rooms.values()
    [room] = [each for each in rooms if each.capacity.host == name]
    room.capacity = replace(room.capacity, trusted=False)


def test_a_replica_is_launched_with_what_it_may_not_share(pool: Pool) -> None:
    pool.drop_vote(quorum=2)
    launched = [launch for host in pool.hosts() for launch in host.launched]
    assert {each.distinct for each in launched} == {"host"}
    where = {number: (f"host {host}",) for number, host in pool.running().items()}
    told = {each.attempt.replica: each.taken for each in launched}
    assert told == {0: where[1], 1: where[0]}


def test_what_comes_from_a_host_that_is_anybodys_is_marked_when_it_is_delivered(
    pool: Pool,
) -> None:
    for name in ("pc01", "pc02", "pc03"):
        distrust(pool, name)
    pool.drop_vote(quorum=2)
    assert [each.lease and each.lease.trusted for each in pool.replicas()] == [False, False]
    pool.finish(0)
    pool.finish(1)
    pool.until(lambda: pool.delivered("sum"))
    assert pool.trailer("sum")["trusted"] is False


def test_where_one_voter_is_trusted_the_mark_is_that_of_the_result_delivered(
    pool: Pool,
) -> None:
    distrust(pool, "pc01")
    pool.drop_vote(quorum=3)
    for number in range(3):
        pool.finish(number)
    pool.until(lambda: pool.delivered("sum"))
    replicas = pool.trailer("sum")["replicas"]
    assert isinstance(replicas, list)
    marks = {each["host"]: each["attempts"][0].get("trusted", True) for each in replicas}
    assert marks == {"pc01": False, "pc02": True, "pc03": True}


def test_what_is_one_hosts_word_goes_to_the_host_that_is_trusted(pool: Pool) -> None:
    distrust(pool, "pc01")
    distrust(pool, "pc02")
    for number in range(3):
        pool.drop(f"plain{number}")
    hosts = {each.capacity().host: each for each in pool.hosts()}
    pool.until(lambda: hosts["pc03"].launched)
    pool.ticks(4)
    assert not hosts["pc01"].launched
    assert not hosts["pc02"].launched


def test_a_copy_of_such_a_result_for_a_task_with_the_same_key_is_marked_too(pool: Pool) -> None:
    for name in ("pc01", "pc02", "pc03"):
        distrust(pool, name)
    pool.drop_vote("sum", "key = 'k'")
    pool.drop_vote("twin", "key = 'k'")
    pool.finish(0)
    pool.finish(1)
    pool.until(lambda: pool.delivered("twin"))
    trailer = pool.trailer("twin")
    assert trailer["copy_of"] == pool.trailer("sum")["id"]
    assert trailer["trusted"] is False


def test_the_mark_outlives_the_journal(pool: Pool) -> None:
    for name in ("pc01", "pc02", "pc03"):
        distrust(pool, name)
    pool.drop_vote()
    attempt = pool.replicas()[0].attempt_id
    pool.finish(0)
    pool.finish(1)
    pool.until(lambda: pool.delivered("sum"))
    task = pool.parts.reactor.journal.get(attempt.task)
    assert task is not None
    assert task.ending is not None
    unknown = replace(task, ending=replace(task.ending, trusted=True))
    staged = pool.layout.stage / str(attempt)
    (pool.layout.results / "sum.result").rename(staged)
    again = rebuild._delivering(unknown, staged)
    assert again.ending is not None
    assert not again.ending.trusted
