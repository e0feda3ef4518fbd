"""Makes task ids: 12 hexadecimal digits of milliseconds, then 20 random ones."""

from __future__ import annotations

import os
import re
import time

from spoolmw.model.ids import TaskId

_ID = re.compile(r"[0-9a-f]{32}")


def new_task_id() -> TaskId:
    """An id that nobody made before; ids sort by the millisecond in which they were made."""
    return TaskId(f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}")


def is_task_id(text: str) -> bool:
    """Whether `text` has the form of an id: 32 lowercase hexadecimal digits."""
    return _ID.fullmatch(text) is not None


def made_at(task_id: str) -> float:
    """When an id was made, in seconds since 1970. Raises ValueError for what is none."""
    return int(task_id[:12], 16) / 1000
