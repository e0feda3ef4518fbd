"""What a keeper in a batch job has to keep to besides: the job's time, and that it ends with the job.

The text of TERMS is JSON: `parent` (who started it), `idle_s`, `grace_s`, `rest_s` (until the job's
time is over). Signal TERM recalls the keeper; it wakes whoever waits for `wakes`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from . import process


class JobTerms:
    """Made by the main thread, once in a process."""

    def __init__(self, text: str) -> None:
        """Ends this process where the one that started it is gone already."""
        told = json.loads(text)
        self._die_with(int(told["parent"]))
        self.idle_s = float(told["idle_s"])  #: without work and client it ends after so long
        self.grace_s = float(told["grace_s"])
        self._over_at = time.monotonic() + float(told["rest_s"])
        self.is_recalled = False
        self.wakes, self._ring = socket.socketpair()
        for each in (self.wakes, self._ring):
            each.setblocking(False)  # noqa: FBT003  the standard library's own signature
        signal.signal(signal.SIGTERM, self._recall)

    def is_over(self, now: float) -> bool:
        """Whether the job's time is over, on the monotonic clock."""
        return now > self._over_at

    def awake(self) -> None:
        """It was woken: take in by what."""
        with contextlib.suppress(OSError):
            self.wakes.recv(64)

    def _recall(self, _number: int, _frame: Any) -> None:
        self.is_recalled = True
        with contextlib.suppress(OSError):
            self._ring.send(b"t")

    def _die_with(self, parent: int) -> None:
        process.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("whoever started this keeper is gone")
