"""Performs effects, after the commit. Each may be repeated: the state owes it until it is done."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from spoolmw.agents.contract import Agent
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.hooks import Hooks
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.table import Table
from spoolmw.errors import AgentError
from spoolmw.format.resultfile import trailer_line
from spoolmw.model.agent import Launch
from spoolmw.model.effects import Deliver, Discard, Effect, Forget, Start, Stop
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.layout import Layout, active_name


class Performer:
    """Carries out a committed batch's effects; what it learns goes back as `published` and so on."""

    def __init__(
        self,
        layout: Layout,
        agents: Mapping[AgentName, Agent],
        delivery: Delivery,
        done_log: DoneLog,
        hooks: Hooks,
        dispatch: Dispatch,
    ) -> None:
        self._layout = layout
        self._active = f"{layout.active}/"
        self.agents = agents
        self._delivery = delivery
        self._done_log = done_log
        self._hooks = hooks
        self._dispatch = dispatch
        self.forget_news()

    def forget_news(self) -> None:
        """The reactor has taken up what the last effects came to."""
        self.published: list[TaskId] = []
        self.name_taken: list[TaskId] = []
        self.launch_failed: list[tuple[AttemptId, str]] = []
        self.unpublished: list[TaskId] = []

    def perform(self, effects: Sequence[Effect], table: Table) -> None:
        """All effects of one committed batch; launches and stops go to each agent in one call.

        The log of deliveries is written before the first rename: with the journal lost, a line
        whose staged file is still there means "to be moved", one without means "delivered".
        """
        starts: dict[AgentName, list[Launch]] = {}
        stops: dict[AgentName, list[AttemptId]] = {}
        self._done_log.append([e.task for e in effects if isinstance(e, Deliver)])
        for effect in effects:
            match effect:
                case Start(task):
                    self._collect_start(task, table, starts)
                case Stop(agent, attempt):
                    stops.setdefault(agent, []).append(attempt)
                case Deliver(task):
                    self._deliver(task)
                case Discard(attempt):
                    self._delivery.discard(str(attempt))
                case Forget(task, payload):
                    self._forget(task, table, payload=payload)
        self._tell_agents(starts, stops)

    def release(self, reported: Mapping[AgentName, Sequence[AttemptId]]) -> None:
        """Tell the agents which reports are committed."""
        for name, attempts in reported.items():
            try:
                self.agents[name].release(attempts)
            except AgentError as error:
                log.warning("release failed %s", fields(agent=name, why=error.what))

    def _collect_start(
        self, task: Task, table: Table, starts: dict[AgentName, list[Launch]]
    ) -> None:
        """Only the newest launch of a task counts; a cancel in the same tick makes it moot."""
        assert task.lease is not None
        now = table.get(task.id)
        if now is None or now.state is not TaskState.RUNNING or now.attempt != task.attempt:
            return
        starts.setdefault(task.lease.agent, []).append(
            Launch(
                attempt=task.attempt_id,
                token=task.lease.token,
                path="active/" + active_name(task.id, task.box, task.dropped),
                spec=task.spec,
                memory_bytes=self._dispatch.memory_limit(task),
            )
        )

    def _tell_agents(
        self,
        starts: Mapping[AgentName, Sequence[Launch]],
        stops: Mapping[AgentName, Sequence[AttemptId]],
    ) -> None:
        for name, attempts in stops.items():
            try:
                self.agents[name].stop(attempts)
            except AgentError as error:
                log.warning("stop failed %s", fields(agent=name, why=error.what))
        for name, work in starts.items():
            try:
                self.agents[name].launch(work)
            except AgentError as error:
                log.warning("launch failed %s", fields(agent=name, why=error.what))
                self.launch_failed += [(launch.attempt, error.what) for launch in work]

    def _deliver(self, task: Task) -> None:
        try:
            if self._delivery.publish(task):
                self.published.append(task.id)
            else:
                self.name_taken.append(task.id)
        except OSError as error:
            log.warning("delivery waits %s", fields(task=task.id, why=error))
            self.unpublished.append(task.id)

    def _forget(self, task: Task, table: Table, *, payload: bool) -> None:
        """A done task's file and inputs go; those of a failed one stay for `retry`, until pruned."""
        if payload:
            _unlink(self._active + active_name(task.id, task.box, task.dropped))
            for item in task.spec.files.inputs:
                if item.digest not in table.inputs:
                    _unlink(str(self._layout.inputs / item.digest))
        if self._hooks.wants(task.state.value):
            self._hooks.fire(task.state.value, trailer_line(task))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
