"""Gathers what one batch orders of the agents, so that each agent is told once.

Only the newest launch of a task, or of a replica, counts: what was cancelled in the same tick is
never started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from spoolmw.agents.contract import Agent
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.errors import AgentError
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Lease, Ran
from spoolmw.model.effects import Start, StartReplica, Stop
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.replica import Ballot, Replica
from spoolmw.model.task import Task, TaskState
from spoolmw.rules import independence
from spoolmw.spooldir.layout import active_of


class Terms(Protocol):
    """On what terms an attempt runs at an agent."""

    def limit(self, memory_bytes: int, agent: AgentName) -> int:
        """The memory limit of an attempt that asks for so many bytes."""

    def shunned(self, agent: AgentName, *, replica: bool) -> tuple[str, ...]:
        """The names of hosts where the agent, which chooses among many, may not run it."""


class Orders:
    """The launches and stops of one batch."""

    def __init__(self, table: Table, terms: Terms) -> None:
        self._table = table
        self._terms = terms
        self._starts: dict[AgentName, list[Launch]] = {}
        self._stops: dict[tuple[AgentName, bool], list[AttemptId]] = {}

    def add(self, order: Start | StartReplica | Stop) -> None:
        """Take one up."""
        match order:
            case Start():
                self._start(order.task)
            case StartReplica():
                self._start_replica(order.replica)
            case Stop(agent, attempt, is_wanted):
                self._stops.setdefault((agent, is_wanted), []).append(attempt)

    def _start(self, task: Task) -> None:
        assert task.lease is not None
        now = self._table.get(task.id)
        if now is None or now.state is not TaskState.RUNNING or now.attempt != task.attempt:
            return
        launch = launch_of(task, task, task.lease, self._terms)
        self._starts.setdefault(task.lease.agent, []).append(launch)

    def _start_replica(self, replica: Replica) -> None:
        task = self._table.get(replica.task)
        if task is None or task.ballot is None or replica.lease is None:
            return
        now = task.ballot.replicas[replica.number]
        if now.lease is None or now.attempt != replica.attempt:
            return
        launch = launch_of(task, replica, replica.lease, self._terms)
        self._starts.setdefault(replica.lease.agent, []).append(launch)

    def tell(self, agents: Mapping[AgentName, Agent]) -> list[tuple[AttemptId, str]]:
        """Tell the agents, stops first; returns the attempts that could not be launched, and why."""
        failed: list[tuple[AttemptId, str]] = []
        for (name, is_wanted), attempts in self._stops.items():
            if name not in agents:
                continue  # what was given up ran at an agent that is configured no more
            try:
                agents[name].stop(attempts, is_wanted=is_wanted)
            except AgentError as error:
                log.warning("stop failed %s", fields(agent=name, why=error.what))
        for name, work in self._starts.items():
            try:
                agents[name].launch(work)
            except AgentError as error:
                log.warning("launch failed %s", fields(agent=name, why=error.what))
                failed += [(launch.attempt, error.what) for launch in work]
        return failed


def launch_of(task: Task, of: Task | Replica, lease: Lease, terms: Terms) -> Launch:
    """The launch of the attempt of a task, or of one of its replicas, that holds `lease`."""
    avoid = terms.shunned(lease.agent, replica=isinstance(of, Replica))
    launch = Launch(
        attempt=of.attempt_id,
        token=lease.token,
        path="active/" + active_of(task),
        spec=task.spec,
        memory_bytes=terms.limit(of.memory_bytes, lease.agent),
        since=of.since,
        element=task.element,
        avoid=avoid,
        platform=task.spec.place.platform,
    )
    if task.ballot is None or not isinstance(of, Replica):
        return launch
    return _apart(launch, task.ballot, of.number)


def _apart(launch: Launch, ballot: Ballot, replica: int) -> Launch:
    """The launch of a replica: where it may not run, for an agent that chooses the host."""
    siblings = independence.hosts_to_avoid(ballot, replica)
    return replace(
        launch,
        avoid=tuple(sorted({*launch.avoid, *siblings})),
        platform=launch.platform or independence.wanted_platform(ballot, replica),
        distinct=ballot.wish.distinct,
        taken=tuple(sorted(independence.taken(ballot, replica))),
    )


def launch_again(task: Task, of: Task | Replica, ran: Ran, terms: Terms) -> Launch:
    """The launch of an attempt that was given up, as it was."""
    lease = Lease(agent=AgentName(ran.agent), token=ran.token, assigned_at=ran.started_at)
    attempt = of.attempt_id._replace(attempt=ran.attempt)
    return replace(launch_of(task, of, lease, terms), attempt=attempt)
