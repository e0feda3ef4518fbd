"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], *, timeout_s: float = 60.0, last: Callable[[], object] = str
) -> T:
    """The first true answer of `condition`; fails with the `last` state seen when none comes."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.002
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain; last seen: {last()}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)
