"""What agents tell of attempts, made fit for the rules: checked against the disk, given its jitter."""

from __future__ import annotations

import random
from dataclasses import replace

from spoolmw.daemon.deliver import Delivery
from spoolmw.daemon.logs import fields, log
from spoolmw.model.attempt import Blame, Cause, Lease, Outcome
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.task import Task


def checked(event: Reported | Lost, delivery: Delivery) -> Reported | Lost:
    """The event; a report whose staged file is missing or too short is a loss on that host."""
    if event.cause is not Cause.FINISHED:
        event = replace(event, jitter=random.random())  # noqa: S311  # spreads retries, no secret
    if isinstance(event, Lost) or delivery.staged_bytes(event.attempt) >= event.body_bytes:
        return event
    return Lost(
        at=event.at,
        attempt=event.attempt,
        cause=Cause.CONNECTION,
        blame=Blame.HOST,
        message="its staged result is missing or shorter than reported",
        host=event.host,
        slot=event.slot,
        started_at=event.started_at,
        ended_at=event.ended_at,
    )


def launch_failed(event: Reported | Lost, task: Task, missing: str) -> Reported | Lost:
    """A lost launch is repeated after a pause, but one for which a file is `missing` is the end."""
    lease = lease_of(task, event.attempt)
    if not missing or lease is None:
        return replace(event, blame=Blame.AGENT) if isinstance(event, Lost) else event
    return Reported(
        at=event.at,
        attempt=event.attempt,
        token=event.token if isinstance(event, Reported) else lease.token,
        outcome=Outcome.ERROR,
        cause=Cause.GONE,
        blame=Blame.TASK,
        message=f"{missing} was removed from the spool, so the task cannot run",
        host=event.host,
        slot=event.slot,
        started_at=event.started_at,
        ended_at=event.ended_at,
    )


def lease_of(task: Task, attempt: AttemptId) -> Lease | None:
    """The lease by which this attempt runs; None where it does not, or not any more."""
    if task.ballot is None:
        return task.lease if attempt == task.attempt_id else None
    replicas = task.ballot.replicas
    if attempt.task != task.id or not 0 <= attempt.replica < len(replicas):
        return None
    one = replicas[attempt.replica]
    return one.lease if attempt == one.attempt_id else None


def runs(task: Task, attempt: AttemptId) -> bool:
    """Whether this attempt of the task holds a lease."""
    return lease_of(task, attempt) is not None


def running(task: Task, replica: object = None) -> tuple[AttemptId, AgentName] | None:
    """The attempt at hand and where it runs; of several replicas `replica`, or the first that runs."""
    if task.ballot is None:
        return None if task.lease is None else (task.attempt_id, task.lease.agent)
    for each in task.ballot.replicas:
        if each.lease is not None and replica in (None, each.number):
            return each.attempt_id, each.lease.agent
    return None


def not_launched(now: float, attempt: AttemptId, why: str) -> Lost:
    """An agent could not even start the attempt."""
    return Lost(
        at=now,
        attempt=attempt,
        cause=Cause.LAUNCH,
        blame=Blame.AGENT,
        message=why,
        counts=False,
        jitter=random.random(),  # noqa: S311  # as above
    )


def daemon_died(now: float, attempt: AttemptId) -> Lost:
    """The attempt that ran when an earlier daemon ended. Its worker is gone; nobody is to blame."""
    return Lost(
        at=now,
        attempt=attempt,
        cause=Cause.CONNECTION,
        blame=Blame.HOST,
        message="the daemon stopped while it ran",
        counts=False,
        dead=True,
    )


def tell(task: Task, event: Reported | Lost) -> None:
    """A line for each attempt that did not succeed, with what became of its task."""
    log.warning(
        "attempt ended %s",
        fields(
            task=task.id,
            name=task.spec.name,
            attempt=event.attempt.attempt,
            **({"replica": event.attempt.replica} if task.ballot is not None else {}),
            cause=event.cause.value,
            blame=event.blame.value,
            now=task.state.value,
            message=event.message,
        ),
    )
