"""Turns the smaller records of a task into texts of the journal and back: leases, ends, attempts."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quoted

from spoolmw.model.attempt import Blame, Cause, Lease, Outcome, Ran, Saved
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.task import Ending, TaskState

_STATES = {state.value: state for state in TaskState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_CAUSES = {cause.value: cause for cause in Cause}
_BLAMES = {blame.value: blame for blame in Blame}


def lease_text(lease: Lease | None) -> str | None:
    """A lease as a JSON list."""
    if lease is None:
        return None
    more = "" if lease.trusted else ",false"
    return (
        f"[{quoted(lease.agent)},{quoted(lease.token)},{lease.assigned_at!r},"
        f"{lease.started_at!r},{quoted(lease.host)},{quoted(lease.slot)}{more}]"
    )


def lease_of(text: str) -> Lease:
    """The lease that `lease_text` wrote."""
    agent, token, assigned_at, started_at, host, slot, *more = json.loads(text)
    return Lease(
        agent=AgentName(agent),
        token=token,
        assigned_at=assigned_at,
        started_at=started_at,
        host=host,
        slot=slot,
        trusted=not more,
    )


def ending_text(ending: Ending | None) -> str | None:
    """What is delivered, as a JSON list."""
    if ending is None:
        return None
    staged = "null" if ending.staged is None else f'"{ending.staged}"'
    copied = "null" if ending.copy_of is None else f'"{ending.copy_of}"'
    return (
        f'["{ending.state._value_}","{ending.cause._value_}","{ending.blame._value_}",'
        f"{quoted(ending.message)},{staged},{ending.body_bytes},{quoted(ending.digest)},"
        f"{'true' if ending.files else 'false'},{copied}{'' if ending.trusted else ',false'}]"
    )


def ending_of(text: str) -> Ending:
    """The ending that `ending_text` wrote."""
    state, cause, blame, message, staged, body_bytes, digest, files, copy_of, *more = (
        json.loads(text)
    )
    return Ending(
        state=_STATES[state],
        cause=_CAUSES[cause],
        blame=_BLAMES[blame],
        message=message,
        staged=attempt_of(staged) if staged else None,
        body_bytes=body_bytes,
        digest=digest,
        files=files,
        copy_of=copy_of,
        trusted=not more,
    )


def saved_text(saved: Saved | None) -> str | None:
    """A checkpoint's record as a JSON list."""
    if saved is None:
        return None
    return f"[{saved.attempt},{saved.sequence},{saved.saved_at!r},{saved.size_bytes}]"


def saved_of(text: str) -> Saved:
    """The checkpoint that `saved_text` wrote."""
    return Saved(*json.loads(text))


def attempt_of(text: str) -> AttemptId:
    """The attempt that `TASK.REPLICA.ATTEMPT` names."""
    task, replica, attempt = text.split(".")
    return AttemptId(TaskId(task), int(replica), int(attempt))


def history_text(history: tuple[Ran, ...]) -> str | None:
    """The ended attempts as a JSON list of lists; those that may yet report keep their tokens."""
    if not history:
        return None
    return f"[{','.join([_ran_text(ran) for ran in history])}]"


def _ran_text(ran: Ran) -> str:
    exit_code = "null" if ran.exit_code is None else ran.exit_code
    more = f',"{ran.token}"' if ran.token or not ran.trusted else ""
    more += "" if ran.trusted else ",false"
    return (
        f'[{ran.attempt},{quoted(ran.agent)},"{ran.outcome._value_}","{ran.cause._value_}",'
        f'"{ran.blame._value_}",{quoted(ran.message)},{exit_code},{quoted(ran.host)},'
        f"{quoted(ran.slot)},{ran.started_at!r},{ran.ended_at!r},{ran.cpu_s!r},"
        f"{ran.memory_bytes}{more}]"
    )


def history_of(text: str) -> tuple[Ran, ...]:
    """The attempts that `history_text` wrote."""
    return tuple(_ran_of(*fields) for fields in json.loads(text))


def _ran_of(  # noqa: PLR0913, PLR0917  # one argument for each element of the list
    attempt: int, agent: str, outcome: str, cause: str, blame: str, message: str,
    exit_code: int | None, host: str, slot: str, started_at: float, ended_at: float,
    cpu_s: float, memory_bytes: int, token: str = "", trusted: bool = True,  # noqa: FBT001, FBT002
) -> Ran:  # fmt: skip
    return Ran(
        attempt=attempt,
        agent=agent,
        outcome=_OUTCOMES[outcome],
        cause=_CAUSES[cause],
        blame=_BLAMES[blame],
        message=message,
        exit_code=exit_code,
        host=host,
        slot=slot,
        started_at=started_at,
        ended_at=ended_at,
        cpu_s=cpu_s,
        memory_bytes=memory_bytes,
        token=token,
        trusted=trusted,
    )
