"""How numbers, times and states read on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

#: Colours of the states; the same wherever a state is shown.
STATE_STYLES = {
    "waiting": "dim",
    "queued": "yellow",
    "held": "magenta",
    "expanding": "cyan",
    "running": "cyan",
    "validating": "bright_blue",
    "delivering": "blue",
    "done": "green",
    "failed": "bold red",
    "cancelled": "dim red",
}
#: In which order states are listed: as a task goes through them.
STATES = tuple(STATE_STYLES)
FINAL_STATES = frozenset({"done", "failed", "cancelled"})

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def size(amount: float | None) -> str:
    """Bytes with three significant digits: `1.25 GB`; empty for none."""
    if amount is None:
        return ""
    value, unit = float(amount), 0
    while abs(value) >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.3g} {_SIZES[unit]}"


def duration(seconds: float | None) -> str:
    """Two units at most, `45 ms`, `3.2 s`, `4m 10s`, `2h 05m`, `3d 4h`; empty for none."""
    if seconds is None:
        return ""
    s = max(0.0, float(seconds))
    if s < 0.9995:
        return f"{s * 1000:.0f} ms"
    if s < 59.95:
        return f"{s:.1f} s"
    minutes, rest = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    return f"{hours // 24}d {hours % 24}h"


def ago(wall: float | None, now: float | None = None) -> str:
    """How long ago a moment of the wall clock was; empty for none."""
    if not wall:
        return ""
    return duration((time.time() if now is None else now) - wall) + " ago"


def clock(wall: float | None) -> str:
    """A moment in local time: `14:03:11` today, with its date on any other day.

    Empty for none, and for one that no calendar has.
    """
    if not wall:
        return ""
    try:
        moment = datetime.fromtimestamp(wall).astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    today = datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M:%S")


def count(number: int, one: str, many: str = "") -> str:
    """`1 task`, `12,000 tasks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short(task_id: str) -> str:
    """The part of an id that tables show: its time and enough of the rest to be unique."""
    return task_id[:18]


def elements(counts: Mapping[str, int]) -> str:
    """How far an array is, one line: `1,000 elements: 900 done, 3 failed, 97 open`."""
    stand = {
        "done": counts["done"],
        "failed": counts["failed"],
        "cancelled": counts["cancelled"] + counts["skipped"],
        "open": counts["open"],
        "to come": counts["unmade"],
    }
    told = ", ".join(f"{number:,} {how}" for how, number in stand.items() if number)
    return f"{count(counts['total'], 'element')}: {told}"
