"""What an attempt says of itself while it runs, from the words of its runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolmw.model.attempt import Saved
from spoolmw.model.events import Checkpointed, Progressed, Resumed
from spoolmw.model.ids import AttemptId

News = Resumed | Checkpointed | Progressed


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
