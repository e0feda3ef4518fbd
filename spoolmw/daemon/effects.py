"""Performs effects, after the commit. Each may be repeated: the state owes it until it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence

from spoolmw.agents.contract import Agent
from spoolmw.daemon import saved
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.hooks import Hooks
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.orders import Orders
from spoolmw.daemon.table import Table
from spoolmw.errors import AgentError
from spoolmw.format.resultfile import trailer_line
from spoolmw.model.effects import (
    Deliver,
    Discard,
    Effect,
    Forget,
    Judge,
    Score,
    Start,
    StartReplica,
    Stop,
    Trim,
)
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.spooldir import checkpoints, markers
from spoolmw.spooldir.donelog import DoneLog
from spoolmw.spooldir.layout import Layout, active_of

RETRY_S = 1.0  #: between two tries of a delivery that failed


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
        self.judge: Callable[[Judge], None] = _unjudged
        self._unpublished: list[TaskId] = []
        self.try_again_at = math.inf  #: when deliveries that failed are due again
        self.forget_news()

    def forget_news(self) -> None:
        """The reactor has taken up what the last effects came to."""
        self.published: list[TaskId] = []
        self.name_taken: list[TaskId] = []
        self.launch_failed: list[tuple[AttemptId, str]] = []

    def has_news(self) -> bool:
        """The last effects came to something."""
        return bool(self.published or self.name_taken or self.launch_failed)

    def due_again(self, now: float) -> list[TaskId]:
        """Deliveries that failed some time ago and are to be tried again."""
        if now < self.try_again_at:
            return []
        self.try_again_at = math.inf
        due, self._unpublished = self._unpublished, []
        return due

    def perform(self, effects: Sequence[Effect], table: Table) -> None:
        """All effects of one committed batch; launches and stops go to each agent in one call.

        The log of deliveries is written before the first rename: with the journal lost, a line
        whose staged file is still there means "to be moved", one without means "delivered".
        """
        orders = Orders(table, self._dispatch)
        self._log_deliveries([e.task for e in effects if isinstance(e, Deliver)])
        for effect in effects:
            match effect:  # the commonest first
                case Deliver():
                    self._deliver(effect.task)
                case Forget():
                    self._forget(effect.task, table, payload=effect.payload)
                case Start() | StartReplica() | Stop():
                    orders.add(effect)
                case Judge():
                    self.judge(effect)
                case _:
                    self._clean(effect)
        self.launch_failed += orders.tell(self.agents)

    def _clean(self, effect: Discard | Trim | Score) -> None:
        """Remove what is not needed any more; a mark for a host stands in the commit."""
        match effect:
            case Discard():
                _tidy(self._delivery.discard, str(effect.attempt))
            case Trim():
                self._trim(effect)
            case Score():
                pass

    def _log_deliveries(self, tasks: Sequence[Task]) -> None:
        try:
            self._done_log.append(tasks)
        except OSError as error:
            self._put_off(tasks, error)

    def _put_off(self, tasks: Sequence[Task], error: OSError) -> None:
        log.warning("deliveries wait %s", fields(number=len(tasks), why=error))
        self._unpublished += [task.id for task in tasks]
        self.try_again_at = boot_s() + RETRY_S

    def release(self, reported: Mapping[AgentName, Sequence[AttemptId]]) -> None:
        """Tell the agents which reports are committed."""
        for name, attempts in reported.items():
            try:
                self.agents[name].release(attempts)
            except AgentError as error:
                log.warning("release failed %s", fields(agent=name, why=error.what))

    def _deliver(self, task: Task) -> None:
        if self._unpublished and task.id in self._unpublished:
            return
        try:
            if self._delivery.publish(task):
                self.published.append(task.id)
            else:
                self.name_taken.append(task.id)
        except OSError as error:
            self._put_off([task], error)

    def _trim(self, order: Trim) -> None:
        newest = checkpoints.Order(*order.newest.order) if order.newest else None
        try:
            checkpoints.trim(self._layout, order.task, order.replica, newest, order.since)
        except OSError as error:
            log.warning("left behind %s", fields(checkpoints=order.task, why=error))

    def _forget(self, task: Task, table: Table, *, payload: bool) -> None:
        """A done task's file and inputs go; those of a failed one stay for `retry`, until pruned.

        An element has none of its own: they are its array's, and go with that. The markers of
        what was held or cancelled go in any case: `done.log` tells of the end by now.
        """
        if task.state is TaskState.CANCELLED or len(task.history) != 1:
            _tidy(self._unmark, task.id)
        if payload:
            if saved.may_have(task) and not task.spec.checkpoint.keep:
                _tidy(self._remove_checkpoints, task.id)
            if task.element is None:
                _tidy(_unlink, self._active + active_of(task))
            for path in table.unneeded(task, self._layout):
                _tidy(_unlink, path)
        if self._hooks.wants(task.state._value_):
            self._hooks.fire(task.state.value, trailer_line(task))

    def _remove_checkpoints(self, task_id: str) -> None:
        checkpoints.remove(self._layout, TaskId(task_id))

    def _unmark(self, task_id: str) -> None:
        markers.clear(self._layout, TaskId(task_id))


def _unjudged(order: Judge) -> None:
    raise NotImplementedError(f"nobody compares the results of {order.task}")


def _tidy(remove: Callable[[str], None], name: str) -> None:
    """Remove what is not needed any more; what cannot be removed is left to the next start."""
    try:
        remove(name)
    except OSError as error:
        log.warning("left behind %s", fields(file=name, why=error))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
