"""What a task remembers of its ended attempts, and what their late reports are still worth.

An attempt that was lost or stopped keeps its token in the history while the task is open: if it
reports a success after all, that counts (once). An attempt that reported or is known to be dead,
and every attempt of a task whose end is decided, has none: its file in `stage/` is unwanted and
may be removed, so its report must never be accepted again. The journal keeps these tokens: on a
host that could not be reached an attempt runs on, also while no daemon is there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from spoolmw.model.attempt import Blame, Cause, Lease, Outcome, Ran
from spoolmw.model.effects import Stop
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.task import Task

HISTORY_AT_MOST: Final = 64  #: attempts; the journal's story keeps all of them

History = tuple[Ran, ...]


class Attempted(Protocol):
    """A task without redundancy, or one replica: what attempts are made for."""

    @property
    def attempt(self) -> int: ...
    @property
    def lease(self) -> Lease | None: ...
    @property
    def history(self) -> History: ...


def with_report(task: Attempted, event: Reported) -> History:
    """The history with the running attempt's own report."""
    return _add(
        task.history,
        Ran(
            attempt=event.attempt.attempt,
            agent=task.lease.agent if task.lease else "",
            outcome=event.outcome,
            cause=event.cause,
            blame=event.blame,
            message=event.message,
            exit_code=event.exit_code,
            host=event.host,
            slot=event.slot,
            started_at=event.started_at,
            ended_at=event.ended_at,
            cpu_s=event.cpu_s,
            memory_bytes=event.memory_bytes,
            trusted=task.lease.trusted if task.lease else True,
        ),
    )


def with_loss(task: Attempted, event: Lost) -> History:
    """The history with the loss of the running attempt, which may yet report if not proven dead."""
    lease = task.lease
    assert lease is not None
    return _add(
        task.history,
        Ran(
            attempt=task.attempt,
            agent=lease.agent,
            outcome=Outcome.LOST,
            cause=event.cause,
            blame=event.blame,
            message=event.message,
            host=event.host or lease.host,
            slot=event.slot or lease.slot,
            started_at=event.started_at or lease.started_at,
            ended_at=event.ended_at,
            token="" if event.dead else lease.token,
            trusted=lease.trusted,
        ),
    )


def with_stop(
    task: Attempted, cause: Cause, blame: Blame, message: str, wall: float
) -> History:
    """The history with the running attempt stopped at `wall`; it may yet report."""
    lease = task.lease
    assert lease is not None
    return _add(
        task.history,
        Ran(
            attempt=task.attempt,
            agent=lease.agent,
            outcome=Outcome.STOPPED,
            cause=cause,
            blame=blame,
            message=message,
            host=lease.host,
            slot=lease.slot,
            started_at=lease.started_at or lease.assigned_at,
            ended_at=wall,
            token=lease.token,
            trusted=lease.trusted,
        ),
    )


def with_late_success(history: History, event: Reported) -> History:
    """The history in which the attempt that was lost or stopped succeeded after all."""
    return tuple(
        replace(
            ran,
            outcome=event.outcome,
            cause=event.cause,
            blame=event.blame,
            message="reported late: it had been given up",
            exit_code=event.exit_code,
            host=event.host or ran.host,
            slot=event.slot or ran.slot,
            started_at=event.started_at or ran.started_at,
            ended_at=event.ended_at or ran.ended_at,
            cpu_s=event.cpu_s,
            memory_bytes=event.memory_bytes,
        )
        if ran.attempt == event.attempt.attempt
        else ran
        for ran in history
    )


def closed(history: History) -> History:
    """The history of a task whose end is decided: no report counts any more."""
    return tuple(replace(ran, token="") if ran.token else ran for ran in history)


def _add(history: History, ran: Ran) -> History:
    return (*history[1 - HISTORY_AT_MOST :], ran)


def may_still_report(task: Attempted, attempt: int, token: str) -> bool:
    """Whether a success of this lost or stopped attempt would still be taken."""
    return any(ran.attempt == attempt and ran.token == token != "" for ran in task.history)


def is_trusted(history: History, attempt: int) -> bool:
    """Whether what an ended attempt says of itself is believed; False when the history has it no more."""
    return next((ran.trusted for ran in history if ran.attempt == attempt), False)


def given_up(history: History) -> tuple[Ran, ...]:
    """The attempts that were called lost while nobody knew: they may run on, and report."""
    return tuple(ran for ran in history if ran.token and ran.outcome is Outcome.LOST)


def stops(one: AttemptId, history: History, *, is_wanted: bool = False) -> tuple[Stop, ...]:
    """What ends the attempts of this history that were given up; `one` is any attempt of theirs."""
    return tuple(
        Stop(AgentName(ran.agent), one._replace(attempt=ran.attempt), is_wanted=is_wanted)
        for ran in given_up(history)
    )


def agent_faults_in_a_row(history: History) -> int:
    """How many of the newest attempts were lost through the fault of an agent."""
    count = 0
    for ran in reversed(history):
        if ran.blame is not Blame.AGENT:
            break
        count += 1
    return count


def unwanted(task: Task) -> tuple[AttemptId, ...]:
    """The attempts whose files in `stage/` can never be delivered, oldest first.

    Wanted are the running attempt's, the one that is being delivered, and those that could
    still report.
    """
    staged = task.ending.staged if task.ending is not None else None
    if task.attempt == 0 or (task.attempt == 1 and (staged or task.lease) is not None):
        return ()
    wanted = {ran.attempt for ran in task.history if ran.token}
    if staged is not None:
        wanted.add(staged.attempt)
    if task.lease is not None:
        wanted.add(task.attempt)
    return tuple(
        AttemptId(task.id, 0, number)
        for number in range(1, task.attempt + 1)
        if number not in wanted
    )
