"""Validations are given to agents that judge: when, how many at once, and what becomes of answers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.fake import FakeAgent
from spoolmw.config import AgentConfig
from spoolmw.daemon.table import Table
from spoolmw.daemon.validating import MOST_LOOKED_AT, NOBODY, Validating
from spoolmw.format import resultfile
from spoolmw.model.agent import Launch, Validated
from spoolmw.model.effects import Judge
from spoolmw.model.ids import TaskId
from spoolmw.model.redundancy import Redundancy, Validator
from spoolmw.model.replica import Ballot, Class, Phase
from spoolmw.model.task import Task, TaskState
from spoolmw.model.voting import Judged, JudgingFailed
from spoolmw.rules.course import order
from spoolmw.runner import call as encoding
from spoolmw.runner import results
from spoolmw.spooldir.layout import Layout
from tests.support.attempts import Heard
from tests.unit.rules.ballots import a_ballot, a_wish, all_reported
from tests.unit.rules.builders import LOCAL, NOW, a_task

CLOSE = a_wish(validator=Validator(kind="close"))


class Court:
    """What stands around the validations: an agent `local` with four slots, a table, a stage."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.stage.mkdir(parents=True)
        self.heard = Heard()
        settings = AgentConfig(name="local", kind="fake", slots=4)
        self.agent = FakeAgent(LOCAL, root, settings, self.heard)
        self.agents = {LOCAL: self.agent}
        self.table = Table()
        self.validating = Validating(self.layout, self.agents, self.table)

    def asks(
        self, seq: int = 1, wish: Redundancy = CLOSE, values: tuple[Any, ...] = (1, 1)
    ) -> Judge:
        """A task whose replicas have all reported; the order that its state owes."""
        task = a_task(seq=seq)
        ballot = all_reported_of(wish, task.id)
        for each, value in zip(ballot.replicas, values, strict=True):
            assert each.staged is not None
            path = str(self.layout.stage / str(each.staged))
            results.write(path, "sum", str(each.staged), encoding.encode(value, "auto"))
        self.table.put(None, replace(task, state=TaskState.VALIDATING, ballot=ballot))
        wanted = order(ballot)
        self.validating.order(wanted)
        return wanted

    def distrust(self, wanted: Judge) -> None:
        """Let all of its results come from hosts that are anybody's."""
        task = self.task(wanted)
        assert task.ballot is not None
        replicas = tuple(
            replace(each, history=tuple(replace(ran, trusted=False) for ran in each.history))
            for each in task.ballot.replicas
        )
        self.table.put(task, replace(task, ballot=replace(task.ballot, replicas=replicas)))

    def path(self, wanted: Judge, replica: int) -> Path:
        """Where a replica's result lies."""
        ballot = self.task(wanted).ballot
        assert ballot is not None
        return self.layout.stage / str(ballot.replicas[replica].staged)

    def task(self, wanted: Judge) -> Task:
        task = self.table.get(wanted.task)
        assert task is not None
        return task

    def launched(self) -> list[TaskId]:
        return [each.attempt.task for each in self.agent.launched]

    def answer(self, launch: Launch) -> JudgingFailed | Judged:
        """The agent's answer to a validation, as the rules would get it."""
        self.agent.judge(launch.attempt)
        told = self.heard.events[-1]
        assert isinstance(told, Validated)
        return self.validating.heard(told)


def all_reported_of(wish: Redundancy, task: TaskId) -> Ballot:
    """As `all_reported`, for the replicas of any task."""
    done = all_reported(a_ballot(wish))
    replicas = tuple(
        replace(each, task=task, staged=each.staged and each.staged._replace(task=task))
        for each in done.replicas
    )
    return replace(done, task=task, replicas=replicas)


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path)


def test_an_order_becomes_an_attempt_of_its_own_and_the_answer_comes_back(court: Court) -> None:
    wanted = court.asks(values=(1.0, 1.0 + 1e-12))
    court.validating.turn(NOW)
    [launch] = court.agent.launched
    assert str(launch.attempt) == f"{wanted.task}.1000.{wanted.round}"
    assert launch.judging is not None
    assert launch.judging.validator == Validator(kind="close")
    assert [each.replica for each in launch.judging.candidates] == [0, 1]
    assert court.validating.why(court.task(wanted)) == ""


def test_no_more_than_half_as_many_as_slots_are_under_way(court: Court) -> None:
    orders = [court.asks(seq) for seq in range(1, 5)]
    court.validating.turn(NOW)
    assert court.launched() == [each.task for each in orders[:2]]
    assert "other validations" in court.validating.why(court.task(orders[2]))
    court.validating.heard(
        Validated(
            at=NOW,
            attempt=court.agent.launched[0].attempt,
            answer=Judged(at=NOW, round=1, classes=(Class((0, 1), 0),)),
        )
    )
    court.validating.turn(NOW)
    assert court.launched() == [each.task for each in orders[:3]]


def test_an_order_that_comes_again_is_the_same_validation(court: Court) -> None:
    wanted = court.asks()
    court.validating.turn(NOW)
    court.validating.order(wanted)
    court.validating.turn(NOW)
    assert court.launched() == [wanted.task]


def test_one_that_is_tried_again_waits_for_its_time(court: Court) -> None:
    wanted = court.asks()
    court.validating.order(replace(wanted, not_before=NOW + 10))
    court.validating.turn(NOW)
    assert court.launched() == []
    assert court.validating.due_at() == NOW + 10
    court.validating.turn(NOW + 10)
    assert court.launched() == [wanted.task]


def test_what_is_not_asked_any_more_is_not_begun(court: Court) -> None:
    wanted = court.asks()
    task = court.task(wanted)
    assert task.ballot is not None
    withdrawn = replace(task.ballot, asked=(), phase=Phase.WITHDRAWN)
    court.table.put(task, replace(task, ballot=withdrawn))
    court.validating.turn(NOW)
    assert court.launched() == []
    assert court.validating.due_at() == float("inf")


def test_one_under_way_is_stopped_when_a_later_round_is_asked_for(court: Court) -> None:
    wanted = court.asks()
    court.validating.turn(NOW)
    task = court.task(wanted)
    assert task.ballot is not None
    court.table.put(task, replace(task, ballot=replace(task.ballot, round=2)))
    court.validating.turn(NOW)
    assert court.agent.stopped == [court.agent.launched[0].attempt]


def test_results_that_are_safe_and_trusted_need_no_process_to_be_found_the_same(
    court: Court,
) -> None:
    wanted = court.asks(wish=a_wish(3), values=([1, "b"], 7, [1, "b"]))
    court.validating.turn(NOW)
    assert court.launched() == []
    assert court.validating.due_at() == 0.0
    [(task, judged)] = court.validating.take_answers()
    assert task == wanted.task
    assert isinstance(judged, Judged)
    assert judged.round == wanted.round
    assert judged.classes == (Class((0, 2), 0), Class((1,), 1))
    assert court.validating.take_answers() == []


def test_a_pickle_among_them_is_left_to_a_worker(court: Court) -> None:
    court.asks(wish=a_wish(), values=(Path("/a"), Path("/a")))
    court.validating.turn(NOW)
    [launch] = court.agent.launched
    assert launch.judging is not None
    assert all(each.trusted for each in launch.judging.candidates)


def test_results_of_an_agent_that_is_not_trusted_are_looked_at_by_a_worker(
    court: Court,
) -> None:
    wanted = court.asks(wish=a_wish(), values=(1, 2))
    court.distrust(wanted)
    court.validating.turn(NOW)
    [launch] = court.agent.launched
    assert launch.judging is not None
    assert not any(each.trusted for each in launch.judging.candidates)


def test_those_that_are_the_same_byte_by_byte_need_no_process_whosesoever_they_are(
    court: Court,
) -> None:
    wanted = court.asks(wish=a_wish(), values=([1, 2], [1, 2]))
    court.distrust(wanted)
    court.validating.turn(NOW)
    assert court.launched() == []
    [(_, answer)] = court.validating.take_answers()
    assert isinstance(answer, Judged)
    assert answer.classes == (Class((0, 1), 0),)


def claim_the_digest_of(other: Path, liar: Path) -> None:
    """A header that says of a value what is true of another one."""
    truth, lie = resultfile.read(other), resultfile.read(liar)
    data = liar.read_bytes()
    liar.write_bytes(
        data.replace(lie.header["sha256"].encode(), truth.header["sha256"].encode())
    )


def make_large(path: Path) -> None:
    results.write(str(path), "t", path.name, encoding.encode(b"x" * (300 << 10), "safe"))


@pytest.mark.parametrize("codec", ["safe", "pickle"])
@pytest.mark.parametrize("how", ["lies", "large", "files", "other"])
def test_of_what_is_anybodys_nothing_is_believed(court: Court, how: str, codec: str) -> None:
    values = (1, 2) if how in ("lies", "other") and codec == "safe" else (1, 1)
    wanted = court.asks(wish=a_wish(), values=values)
    court.distrust(wanted)
    paths = [court.path(wanted, number) for number in (0, 1)]
    if codec == "pickle":
        for path, value in zip(paths, values, strict=True):
            results.write(str(path), "t", path.name, encoding.encode(value, "pickle"))
    if how == "lies":
        claim_the_digest_of(paths[0], paths[1])
    elif how == "large":
        for path in paths:
            make_large(path)
    elif how == "files":
        paths[1].with_name(f"{paths[1].name}.files").mkdir()
    court.validating.turn(NOW)
    assert court.launched() == [wanted.task], "a worker looks closer"


def test_a_result_that_is_gone_is_left_to_a_worker_to_say_so(court: Court) -> None:
    wanted = court.asks(wish=a_wish())
    task = court.task(wanted)
    assert task.ballot is not None
    (court.layout.stage / str(task.ballot.replicas[1].staged)).unlink()
    court.validating.turn(NOW)
    assert court.launched() == [wanted.task]


def test_an_agent_that_takes_nothing_makes_it_a_matter_of_another_time(court: Court) -> None:
    wanted = court.asks()
    court.agent.unplug()
    court.validating.turn(NOW)
    [(task, failed)] = court.validating.take_answers()
    assert task == wanted.task
    assert isinstance(failed, JudgingFailed)
    assert failed.transient
    assert "not plugged in" in failed.message


def test_the_death_of_an_agent_is_no_fault_of_the_validator(court: Court) -> None:
    court.asks()
    court.validating.turn(NOW)
    court.agent.unplug("the host is gone")
    told = next(each for each in court.heard.events if isinstance(each, Validated))
    failed = court.validating.heard(told)
    assert isinstance(failed, JudgingFailed)
    assert failed.transient
    assert "the host is gone" in failed.message


def test_without_an_agent_that_judges_somebody_is_told(court: Court) -> None:
    lonely = Validating(court.layout, {}, court.table)
    wanted = court.asks()
    lonely.order(wanted)
    lonely.turn(NOW)
    assert lonely.why(court.task(wanted)) == NOBODY
    assert lonely.warning() == (
        "1 tasks wait for a validation, and no agent of kind local is configured"
    )
    assert lonely.due_at() == float("inf")


def test_those_that_wait_for_room_cost_nothing(court: Court) -> None:
    for seq in range(1, 200):
        court.asks(seq)
    court.validating.turn(NOW)
    looked = 0
    wanted = Validating._is_wanted

    def counted(self: Validating, task: TaskId, number: int) -> bool:
        nonlocal looked
        looked += 1
        return wanted(self, task, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validating, "_is_wanted", counted)
        for _ in range(10):
            court.validating.turn(NOW)
    assert looked == 20, "two are under way"


def test_what_needs_no_process_waits_for_no_agent(court: Court) -> None:
    lonely = Validating(court.layout, {}, court.table)
    wanted = court.asks(wish=a_wish(), values=(1, 1))
    court.distrust(wanted)
    lonely.order(wanted)
    assert lonely.due_at() <= NOW
    lonely.turn(NOW)
    [(task, answer)] = lonely.take_answers()
    assert (task, isinstance(answer, Judged)) == (wanted.task, True)
    assert (lonely.warning(), lonely.due_at()) == ("", math.inf)


def test_a_turn_looks_at_so_many_and_the_next_at_more(court: Court) -> None:
    for seq in range(1, MOST_LOOKED_AT + 6):
        court.asks(seq, wish=a_wish())
    court.validating.turn(NOW)
    assert len(court.validating.take_answers()) == MOST_LOOKED_AT
    assert court.validating.due_at() <= NOW
    court.validating.turn(NOW)
    assert len(court.validating.take_answers()) == 5
