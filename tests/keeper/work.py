"""What attempts do in these tests."""

from __future__ import annotations

import time
from pathlib import Path

from spoolmw import checkpoint, progress


def double(number: int) -> int:
    return 2 * number


def large(size: int) -> bytes:
    return b"x" * size


def slow(size: int, seconds: float) -> bytes:
    time.sleep(seconds)
    return b"x" * size


def hold(flag: str, said: str = "it runs") -> str:
    """Run until the file `flag` is there."""
    print(said, flush=True)
    until = time.monotonic() + 240
    while time.monotonic() < until:
        if Path(flag).exists():
            return "let go"
        time.sleep(0.005)
    return "too late"


def save_and_hold(flag: str, size: int = 10) -> str:
    """Save twice as it begins, then run until the file `flag` is there."""
    number = checkpoint.load((0, b""))[0]
    checkpoint.save((number + 1, bytes(size)))
    progress(0.5, f"number {number + 1}")
    return hold(flag, f"began with {number}")
