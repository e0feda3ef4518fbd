"""Limits that the kernel holds for a worker and what it starts: data segment and file size.

The runner watches the rest (wall time, resident memory of the whole tree, all output together).
The kernel's limits are soft ones, set around an attempt that asked for them.
"""

from __future__ import annotations

import os
import resource
from types import TracebackType
from typing import Optional, Type

from .order import DEFAULT_OUTPUT_BYTES, Order

#: Room above the limit before malloc fails. Reserved is not used: thread stacks and the
#: buffers of numeric libraries count as data long before they are touched.
SLACK_BYTES = 256 << 20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _soften(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY and (soft > hard or soft == resource.RLIM_INFINITY):
        soft = hard
    resource.setrlimit(kind, (soft, hard))


def settle() -> None:
    """A worker's standing limits: no core files, the default output limit."""
    _soften(resource.RLIMIT_CORE, 0)
    _soften(resource.RLIMIT_FSIZE, DEFAULT_OUTPUT_BYTES)


def lift_file_size() -> None:
    """For a result that is longer than the output limit: it is no output."""
    _soften(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)


class Lifted:
    """No limit on the size of a file for a while: what is written then is no output."""

    _soft = 0

    def __enter__(self) -> None:
        self._soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        lift_file_size()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        _soften(resource.RLIMIT_FSIZE, self._soft)


def _data_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE_BYTES


class Around:
    """Holds one attempt's own limits while it runs; costs nothing for one that has none."""

    def __init__(self, order: Order) -> None:
        self.memory_limited = order.memory > 0
        self._memory = order.memory
        self._output = order.output if order.output != DEFAULT_OUTPUT_BYTES else -1

    def __enter__(self) -> None:
        if self._memory:
            slack = max(SLACK_BYTES, self._memory // 4)
            _soften(resource.RLIMIT_DATA, _data_bytes() + self._memory + slack)
        if self._output >= 0:
            _soften(resource.RLIMIT_FSIZE, max(1, self._output))

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._memory:
            _soften(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
        if self._output >= 0:
            _soften(resource.RLIMIT_FSIZE, DEFAULT_OUTPUT_BYTES)
