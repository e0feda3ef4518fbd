"""Gives what is ready its room, and says when a replica's deadline is over.

A replica's host has a record: whether it may run the replica alone is decided here, by luck that
the rules are handed.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable

from spoolmw.daemon.clock import wall_s
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.table import Table
from spoolmw.model.events import Assigned, Event
from spoolmw.model.ids import AgentName
from spoolmw.model.replica import Ballot, Spot
from spoolmw.model.task import Task
from spoolmw.model.voting import DeadlinePassed, Placed
from spoolmw.rules import independence, trust
from spoolmw.rules.pending import WHOLE

Apply = Callable[[Task, Event], Task]
TOKEN_BYTES = 16


class Placing:
    """Called once in each round of the reactor."""

    def __init__(self, dispatch: Dispatch, table: Table) -> None:
        self._dispatch = dispatch
        self._table = table

    def turn(self, apply: Apply, now: float) -> int:
        """Assign while there is room; how many were assigned."""
        assigned = 0
        while given := self._dispatch.assign(now, wall := wall_s()):
            for (task_id, agent, replica), token in zip(
                given, _tokens(len(given)), strict=True
            ):
                task = self._table.tasks[task_id]
                if replica == WHOLE:
                    apply(task, Assigned(at=now, agent=agent, token=token, wall=wall))
                else:
                    apply(task, self._placed(task, replica, agent, token, now))
            assigned += len(given)
            if given[-1][2] == WHOLE:
                break
        return assigned

    def _placed(
        self, task: Task, replica: int, agent: AgentName, token: str, now: float
    ) -> Placed:
        assert task.ballot is not None
        spot = self._spot(task.ballot, replica, agent)
        return Placed(
            at=now,
            replica=replica,
            agent=agent,
            token=token,
            wall=wall_s(),
            spot=spot,
            trusted=task.ballot.wish.adaptive and self._is_trusted(task.ballot, spot),
            agent_trusted=self._dispatch.rooms[agent].capacity.trusted,
        )

    def _spot(self, ballot: Ballot, replica: int, agent: AgentName) -> Spot:
        room = self._dispatch.rooms[agent]
        seat = independence.apart(ballot, replica).seat(room.spot, room.capacity.slots)
        assert seat is not None
        return seat

    def _is_trusted(self, ballot: Ballot, spot: Spot) -> bool:
        record = self._dispatch.hosts.get(spot.machine)
        luck = random.random()  # noqa: S311  # which results are audited is no secret
        return record is not None and trust.runs_alone(record, ballot.wish.audit, luck)

    def end_deadlines(self, apply: Apply, now: float) -> None:
        """Tell of each running replica whose deadline is over."""
        for attempt in self._dispatch.deadlines.due(now):
            task = self._table.get(attempt.task)
            if task is not None:
                apply(task, DeadlinePassed(at=now, attempt=attempt))


def _tokens(number: int) -> list[str]:
    """Secrets of attempts, drawn together: asking the kernel for each costs more than all the rest."""
    drawn = secrets.token_hex(TOKEN_BYTES * number)
    size = 2 * TOKEN_BYTES
    return [drawn[at : at + size] for at in range(0, size * number, size)]
