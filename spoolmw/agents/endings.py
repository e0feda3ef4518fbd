"""What a runner's report of an ended attempt means as an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AttemptId

_OUTCOMES = {each.value: each for each in Outcome}
_CAUSES = {each.value: each for each in Cause}
_BLAMES = {each.value: each for each in Blame}


def told(
    at: float, attempt: AttemptId, told: Mapping[str, Any], where: tuple[str, str]
) -> Reported | Lost:
    """The event in a report; `where` names the host and its machine."""
    get = told.get
    outcome = _OUTCOMES[told["outcome"]]
    if outcome is Outcome.LOST:
        return Lost(
            at=at,
            attempt=attempt,
            cause=_CAUSES[told["cause"]],
            blame=_BLAMES[get("blame", "host")],
            message=get("message", ""),
            host=where[0],
            slot=get("slot", ""),
            started_at=told["started"],
            ended_at=told["ended"],
            counts=get("counts", True),
            dead=get("dead", True),  # who says nothing of it has seen the last process end
        )
    return Reported(
        at=at,
        attempt=attempt,
        token=told["token"],
        outcome=outcome,
        cause=_CAUSES[told["cause"]],
        blame=_BLAMES[get("blame", "")],
        message=get("message", ""),
        exit_code=get("exit_code"),
        body_bytes=told["body_bytes"],
        digest=told["digest"],
        files=get("files", False),
        host=where[0],
        slot=get("slot", ""),
        started_at=told["started"],
        ended_at=told["ended"],
        cpu_s=told["cpu_s"],
        memory_bytes=told["memory_bytes"],
        machine=where[1],
        owner=get("owner", ""),
        platform=get("platform", ""),
    )
