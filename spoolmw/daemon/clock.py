"""The two clocks: boot time decides, wall time is only shown."""

from __future__ import annotations

import time
from pathlib import Path


def boot_s() -> float:
    """Seconds since the machine started, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_s() -> float:
    """Seconds since 1970, for display."""
    return time.time()


def boot_id() -> str:
    """A name of this boot of the machine; boot times of other boots cannot be compared with ours."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
