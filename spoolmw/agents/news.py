"""What an attempt says of itself while it runs, from the words of its runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.model.attempt import Saved
from spoolmw.model.events import Checkpointed, Progressed, Resumed, Started
from spoolmw.model.ids import AttemptId

News = Resumed | Checkpointed | Progressed


def started(
    at: float, attempt: AttemptId, told: Mapping[str, Any], where: tuple[str, str]
) -> Started:
    """The event that a frame `started` tells of one attempt, which ran in `where` (host, machine)
    unless it names a place of its own: engines have many."""
    return Started(
        at=at,
        attempt=attempt,
        started_at=told["started"],
        host=told.get("host", where[0]),
        slot=told["slot"],
        machine=told.get("machine", where[1]),
        owner=told.get("owner", ""),
        platform=told.get("platform", ""),
    )


def heard(event: str, at: float, attempt: AttemptId, told: Mapping[str, Any]) -> News:
    """The event that a frame `resumed`, `checkpointed` or `progress` tells of one attempt."""
    match event:
        case "resumed":
            saved = Saved(*told["saved"]) if "saved" in told else None
            return Resumed(at=at, attempt=attempt, saved=saved, message=told["message"])
        case "checkpointed":
            return Checkpointed(
                at=at,
                attempt=attempt,
                sequence=told["sequence"],
                size_bytes=told["bytes"],
                saved_at=told["saved_at"],
            )
        case _:
            return Progressed(
                at=at, attempt=attempt, fraction=told["fraction"], text=told["text"]
            )
