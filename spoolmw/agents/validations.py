"""What a runner says of a validation, as events.

A validation that came to nothing is told as one that may be tried again; but of one that the
daemon's own stop ended nothing is told: the state owes it at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.model.agent import Validated
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Class
from spoolmw.model.voting import Judged, JudgingFailed


def ended(at: float, attempt: AttemptId, told: Mapping[str, Any]) -> list[Validated]:
    """The event in the report of a validation's attempt."""
    tree = told.get("judgement")
    if tree is None:
        message = told.get("message") or "it ended without an answer"
        return lost(at, attempt, Cause(told["cause"]), message)
    if tree["fault"]:
        failed = JudgingFailed(
            at=at,
            round=attempt.attempt,
            message=tree["fault"],
            transient=tree["transient"],
        )
        return [Validated(at=at, attempt=attempt, answer=failed)]
    judged = Judged(
        at=at,
        round=attempt.attempt,
        classes=tuple(
            Class(tuple(members), centre, tuple(near))
            for members, centre, near in tree["classes"]
        ),
        unfit=tuple((replica, why) for replica, why in tree["unfit"]),
    )
    return [Validated(at=at, attempt=attempt, answer=judged)]


def lost(at: float, attempt: AttemptId, cause: Cause, message: str) -> list[Validated]:
    """The validation was not brought to its end."""
    if cause is Cause.SHUTDOWN:
        return []
    failed = JudgingFailed(
        at=at,
        round=attempt.attempt,
        message=f"the validation was lost: {message}",
        transient=True,
    )
    return [Validated(at=at, attempt=attempt, answer=failed)]
