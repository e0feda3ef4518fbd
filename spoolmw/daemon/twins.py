"""Two drops with one key: the second waits for the first and gets a copy of its result."""

from __future__ import annotations

from spoolmw.daemon.deliver import Delivery
from spoolmw.model.events import TwinEnded
from spoolmw.model.task import Task, TaskState


def ended(now: float, delivery: Delivery, twin: Task, first: Task) -> TwinEnded:
    """What the end of `first` means for `twin`; a result that is still there is copied for it."""
    copied = None
    if first.state is TaskState.DONE:
        copied = delivery.copy(first, twin)
    size, digest = copied or (0, "")
    return TwinEnded(
        at=now,
        first=first,
        copied=copied is not None,
        body_bytes=size,
        digest=digest,
        files=copied is not None and first.ending is not None and first.ending.files,
    )
