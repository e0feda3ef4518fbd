"""Has results compared: gives validations to agents that judge, and hands on what they come to.

Rule 1: the state owes a validation until its answer is committed, so nothing here need survive a
crash. An order that comes again is the same validation: its attempt is named by the round.
Rule 2: no order is carried out whose task does not ask any more; one that runs is then stopped.
Rule 3: what the headers of the results decide, or that all are the same byte by byte
(`format.samevalue`), needs no process at all, and waits for none.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spoolmw.agents.contract import Agent
from spoolmw.config import Validation
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.errors import AgentError
from spoolmw.format import samevalue
from spoolmw.model.agent import Candidate, Judging, Launch, Validated
from spoolmw.model.effects import Judge
from spoolmw.model.ids import VALIDATION, AgentName, AttemptId, TaskId
from spoolmw.model.replica import Ballot, Class, Replica
from spoolmw.model.task import Task, TaskState
from spoolmw.model.voting import Judged, JudgingFailed
from spoolmw.rules.history import is_trusted
from spoolmw.spooldir.layout import Layout, active_of

NOBODY = "its results wait to be compared: no agent of kind local is configured"
BUSY = "its results wait to be compared: other validations are under way"

MOST_LOOKED_AT = 200  #: validations in one turn that need no agent, perhaps

Answer = Judged | JudgingFailed


class Validating:
    """The validations that are owed, those under way, and what they came to."""

    def __init__(
        self,
        layout: Layout,
        agents: Mapping[AgentName, Agent],
        table: Table,
    ) -> None:
        self._stage = f"{layout.stage}/"
        self._agents = agents
        self._table = table
        self.bounds = Validation()
        self._orders: dict[TaskId, Judge] = {}  #: that nobody looked at yet
        self._closer: dict[TaskId, Judge] = {}  #: of which an agent has to look at the results
        self._under_way: dict[AttemptId, AgentName] = {}
        self._answers: list[tuple[TaskId, Answer]] = []

    # -- what the reactor says and asks

    def order(self, order: Judge) -> None:
        """A committed state wants this validation; a repeated order changes nothing."""
        if _attempt(order) in self._under_way or self._closer.get(order.task) == order:
            return
        self._closer.pop(order.task, None)
        self._orders[order.task] = order

    def heard(self, told: Validated) -> Answer:
        """An agent's answer, as the rules take it."""
        self._under_way.pop(told.attempt, None)
        if isinstance(told.answer, Judged):
            return told.answer
        log.warning(
            "validation failed %s",
            fields(task=told.attempt.task, round=told.answer.round, why=told.answer.message),
        )
        return _with_jitter(told.answer)

    def take_answers(self) -> list[tuple[TaskId, Answer]]:
        """What was found without asking an agent."""
        answers, self._answers = self._answers, []
        return answers

    def due_at(self) -> float:
        """When there is something to do (boot-time clock); infinity: when something is told."""
        if self._answers:
            return 0.0
        if self._closer and self._idle():
            return 0.0
        return min((order.not_before for order in self._orders.values()), default=math.inf)

    def turn(self, now: float) -> None:
        """Stop what nobody wants any more, start what is due while there is room.

        What waits for room is not looked at: that may be thousands.
        """
        for attempt, name in list(self._under_way.items()):
            if not self._is_wanted(attempt.task, attempt.attempt):
                self._stop(attempt, name)
        due = [each for each in self._orders.values() if each.not_before <= now]
        for order in due[:MOST_LOOKED_AT]:
            del self._orders[order.task]
            if self._is_wanted(order.task, order.round):
                self._look(order)
        while self._closer and (idle := self._idle()):
            order = self._closer.pop(next(iter(self._closer)))
            if self._is_wanted(order.task, order.round):
                self._begin(order, idle)

    def why(self, task: Task) -> str:
        """Why nobody compares the results of a task in VALIDATING; empty when somebody does."""
        if task.state is not TaskState.VALIDATING or task.id not in self._closer:
            return ""  # the rules know why
        return BUSY if self._judges() else NOBODY

    def warning(self) -> str:
        """What an operator should mend; empty: nothing."""
        if not self._closer or self._judges():
            return ""
        number = sum(self._is_wanted(e.task, e.round) for e in self._closer.values())
        return f"{number} tasks wait for a validation, and no agent of kind local is configured"

    # -- who compares

    def _judges(self) -> list[AgentName]:
        """Agents that compare; one that does not say so (`judges`) does not."""
        return [name for name, each in self._agents.items() if getattr(each, "judges", False)]

    def _idle(self) -> AgentName | None:
        """The agent with the fewest validations under way, if one more fits there."""
        taken = list(self._under_way.values())
        judges = sorted(self._judges(), key=taken.count)
        if not judges:
            return None
        most = max(1, self._agents[judges[0]].capacity().slots // 2)
        return judges[0] if taken.count(judges[0]) < most else None

    def _is_wanted(self, task_id: TaskId, number: int) -> bool:
        ballot = _ballot(self._table.get(task_id))
        return ballot is not None and bool(ballot.asked) and ballot.round == number

    def _stop(self, attempt: AttemptId, name: AgentName) -> None:
        del self._under_way[attempt]
        try:
            self._agents[name].stop([attempt], is_wanted=False)
        except AgentError as error:
            log.warning("stop failed %s", fields(agent=name, why=error.what))

    # -- one validation

    def _look(self, order: Judge) -> None:
        """Answer what can be told without a process; the rest waits for an agent."""
        ballot = _ballot(self._table.get(order.task))
        assert ballot is not None
        classes = self._classes(ballot, self._candidates(ballot, order))
        if classes is None:
            self._closer[order.task] = order
            return
        judged = Judged(at=boot_s(), round=order.round, classes=classes)
        self._answers.append((order.task, judged))

    def _begin(self, order: Judge, name: AgentName) -> None:
        task = self._table.get(order.task)
        ballot = _ballot(task)
        assert task is not None
        assert ballot is not None
        launch = Launch(
            attempt=_attempt(order),
            token="",
            path="active/" + active_of(task),
            spec=task.spec,
            memory_bytes=ballot.memory_bytes,
            judging=Judging(
                candidates=self._candidates(ballot, order),
                validator=ballot.wish.validator,
                step_s=self.bounds.step_s,
                total_s=self.bounds.total_s,
            ),
        )
        try:
            self._agents[name].launch([launch])
            self._under_way[launch.attempt] = name
        except AgentError as error:
            failed = JudgingFailed(
                at=boot_s(), round=order.round, message=error.what, transient=True
            )
            self._answers.append((order.task, _with_jitter(failed)))

    def _candidates(self, ballot: Ballot, order: Judge) -> tuple[Candidate, ...]:
        return tuple(self._candidate(ballot.replicas[number]) for number in order.replicas)

    def _candidate(self, replica: Replica) -> Candidate:
        staged = replica.staged
        assert staged is not None
        trusted = is_trusted(replica.history, staged.attempt)
        return Candidate(replica.number, staged, trusted)

    def _classes(
        self, ballot: Ballot, candidates: Sequence[Candidate]
    ) -> tuple[Class, ...] | None:
        if ballot.wish.validator.kind != "exact":
            return None
        staged = {each.replica: f"{self._stage}{each.staged}" for each in candidates}
        if all(each.trusted for each in candidates):
            return samevalue.classes(staged)
        return samevalue.one_class(staged)


def _attempt(order: Judge) -> AttemptId:
    return AttemptId(order.task, VALIDATION, order.round)


def _ballot(task: Task | None) -> Ballot | None:
    return None if task is None else task.ballot


def _with_jitter(failed: JudgingFailed) -> JudgingFailed:
    return replace(failed, jitter=random.random())  # noqa: S311  # spreads retries, no secret
