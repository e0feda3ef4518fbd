"""What spoolmw is measured against in the same run: the standard library, keeping nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.payloads import nothing
from benchmarks.service import own_cpu_s
from spoolmw.spooldir.publish import syncfs

TRUE = "/bin/true"
LOG_BYTES = 8192  #: two pages, the least that a commit writes


class Rate(NamedTuple):
    """Tasks per second, and CPU microseconds per task over all processes."""

    per_s: float
    cpu_us: float


def pool_rate(count: int, function: Callable[..., Any], *args: Any) -> Rate:
    """ProcessPoolExecutor(2): submit one by one, gather in order."""
    cpu = own_cpu_s()
    with ProcessPoolExecutor(2) as pool:
        pool.submit(nothing).result()
        before = time.perf_counter()
        futures = [pool.submit(function, *args) for _ in range(count)]
        for future in futures:
            future.result()
        took = time.perf_counter() - before
    return Rate(count / took, (own_cpu_s() - cpu) / count * 1e6)


def pool_latencies_ms(count: int, pause_s: float) -> list[float]:
    """ProcessPoolExecutor(2): one task at a time, each from submit to result."""
    latencies = []
    with ProcessPoolExecutor(2) as pool:
        pool.submit(nothing).result()
        for _ in range(count):
            time.sleep(pause_s)
            before = time.perf_counter()
            pool.submit(nothing).result()
            latencies.append((time.perf_counter() - before) * 1e3)
    return latencies


def flush_latencies_ms(folder: Path, count: int, pause_s: float) -> list[float]:
    """What the disk itself takes for one durable task: a file and the log, in and out.

    Two times a new file is renamed into its place and synced, then two pages of a log that has
    its length are overwritten and flushed. The order in which that must happen is the same.
    """
    latencies = []
    (folder / "floor").mkdir()
    root = os.open(folder / "floor", os.O_RDONLY)
    log = os.open(folder / "floor" / "log", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(log, bytes(count * 2 * LOG_BYTES), 0)
    os.fsync(log)
    for number in range(count):
        time.sleep(pause_s)
        before = time.perf_counter()
        for half in (2 * number, 2 * number + 1):
            _make_file(folder / "floor", str(half))
            syncfs(root)
            os.pwrite(log, b"x" * LOG_BYTES, half * LOG_BYTES)
            os.fdatasync(log)
        latencies.append((time.perf_counter() - before) * 1e3)
    os.close(log)
    os.close(root)
    return latencies


def _make_file(folder: Path, name: str) -> None:
    (folder / f"{name}.tmp").write_bytes(b"x" * 700)
    (folder / f"{name}.tmp").rename(folder / name)


def spawn_rate(count: int) -> float:
    """posix_spawn of /bin/true, two at a time: what the machine itself can do."""
    before = time.perf_counter()
    alive: set[int] = set()
    for _ in range(count):
        if len(alive) == 2:
            alive.discard(os.wait()[0])
        alive.add(os.posix_spawn(TRUE, [TRUE], {}))
    while alive:
        alive.discard(os.wait()[0])
    return count / (time.perf_counter() - before)
