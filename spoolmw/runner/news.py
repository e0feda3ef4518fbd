"""Packets in which a worker tells of the attempt that it runs; the runner passes them on as they are."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from . import order, wire
from .checkpoint import Checkpoint

_MOST_TEXT = 1000  #: characters of what is wrong with damaged ones


def checkpointed(attempt: str, made: Checkpoint) -> bytes:
    """There is a new checkpoint."""
    told = {
        "attempt": attempt,
        "sequence": made.order[1],
        "bytes": made.size_bytes,
        "saved_at": made.saved_at,
    }
    return order.CHECKPOINTED + wire.encode(told)


def resumed(attempt: str, found: Optional[Checkpoint], notes: Iterable[str]) -> bytes:
    """What an attempt goes on from, if anything, and which checkpoints were damaged."""
    told: Dict[str, Any] = {"attempt": attempt, "message": "; ".join(notes)[:_MOST_TEXT]}
    if found is not None:
        told["saved"] = [*found.order, found.saved_at, found.size_bytes]
    return order.RESUMED + wire.encode(told)


def progressed(attempt: str, fraction: float, text: str) -> bytes:
    """How far it is."""
    told = {"attempt": attempt, "fraction": fraction, "text": text}
    return order.PROGRESS + wire.encode(told)
