"""Makes task ids: 12 hexadecimal digits of milliseconds, 5 of nanoseconds therein, 15 random ones."""

from __future__ import annotations

import os
import re
import time

from spoolmw.model.ids import TaskId

_ID = re.compile(r"[0-9a-f]{32}")
_DIGITS = 15  #: random ones
_AT_ONCE = 128  #: to ask the kernel for each would take half of the time
_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)


def new_task_id() -> TaskId:
    """An id that nobody made before; ids sort by the time at which they were made."""
    try:
        digits = _drawn.pop()
    except IndexError:
        text = os.urandom(_AT_ONCE * 8).hex()
        _drawn.extend(text[at : at + _DIGITS] for at in range(0, _AT_ONCE * 16, 16))
        digits = _drawn.pop()
    ms, ns = divmod(time.time_ns(), 1_000_000)
    return TaskId(f"{ms:012x}{ns:05x}{digits}")


def is_task_id(text: str) -> bool:
    """Whether `text` has the form of an id: 32 lowercase hexadecimal digits."""
    return _ID.fullmatch(text) is not None


def made_at(task_id: str) -> float:
    """When an id was made, in seconds since 1970. Raises ValueError for what is none."""
    return int(task_id[:12], 16) / 1000


def made_before(task_id: str, now: float) -> float:
    """The same, but `now` for an id that says the future: people may make ids up."""
    return min(made_at(task_id), now)
