"""W7: what an array costs. Its acceptance, its memory, and its elements beside single tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.payloads import element, nothing
from benchmarks.report import Measure, Report, at_least, at_most
from benchmarks.service import Service, own_cpu_s
from spoolmw import Spool
from spoolmw.client.control import ControlClient
from spoolmw.errors import SpoolmwError

LARGE = 1_000_000  #: elements of the array whose acceptance is measured
RUNS_S = 20.0  #: that it runs, for its memory
TIMEOUT_S = 1800.0
POLL_S = 0.005


def w7(folder: Path, report: Report, *, quick: bool) -> None:
    """An array of 1,000,000 elements; its elements, and a map, beside as many single tasks."""
    count = 5_000 if quick else 100_000
    with Service(folder) as service:
        spool = Spool(service.spool)
        [task.result() for task in [spool.submit(nothing) for _ in range(200)]]
        single_s, single_us = _cost(service, count, lambda: _singles(spool, count))
        array_s, array_us = _cost(service, count, lambda: _array(spool, count))
        map_s, map_us = _cost(service, count, lambda: _map(spool, count))
        accepted_s = _accepted(service, spool)
        time.sleep(RUNS_S / (10 if quick else 1))
        memory_mb = service.memory_mb()
        with ControlClient(service.spool, timeout_s=TIMEOUT_S) as control:
            before = time.perf_counter()
            control.request("cancel", {"ids": [_id(control)]})
            cancelled_s = time.perf_counter() - before
    report.add(
        at_most("W7", f"{LARGE:,} elements accepted in", accepted_s, "s", 2),
        at_most("W7", "daemon's memory while they run", memory_mb, "MB", 300),
        Measure("W7", "cancelling it took", cancelled_s, "s"),
        Measure("W7", f"{count:,} single tasks", count / single_s, "tasks/s"),
        Measure("W7", "  their CPU, all processes", single_us, "us/task"),
        Measure("W7", f"an array of {count:,}", count / array_s, "elements/s"),
        Measure("W7", "  its CPU, all processes", array_us, "us/element"),
        at_least("W7", "  ratio to single tasks", single_s / array_s, "x", 1),
        Measure("W7", f"map of {count:,} calls", count / map_s, "calls/s"),
        Measure("W7", "  its CPU, all processes", map_us, "us/call"),
        at_least("W7", "  ratio to single tasks", single_s / map_s, "x", 1),
    )


def _cost(service: Service, count: int, work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU microseconds for each of `count`, of the client and the daemon's tree."""
    cpu, before = own_cpu_s() + service.cpu_s(), time.perf_counter()
    work()
    took = time.perf_counter() - before
    return took, (own_cpu_s() + service.cpu_s() - cpu) / count * 1e6


def _singles(spool: Spool, count: int) -> None:
    for task in [spool.submit(nothing) for _ in range(count)]:
        task.result(TIMEOUT_S)


def _array(spool: Spool, count: int) -> None:
    """All elements, each result read; the same work as that of the single tasks."""
    array = spool.array(element, range(count))
    for _ in array.values():
        pass
    array.result(TIMEOUT_S)


def _map(spool: Spool, count: int) -> None:
    spool.map(element, range(count)).results()


def _accepted(service: Service, spool: Spool) -> float:
    """Seconds from the drop of a large array until the daemon knows it durably."""
    before = time.perf_counter()
    spool.options(name="large").array(element, f"1-{LARGE}")
    with ControlClient(service.spool) as control:
        while not _id(control):
            if time.perf_counter() - before > TIMEOUT_S:
                raise TimeoutError("the array was not accepted")
            time.sleep(POLL_S)
    return time.perf_counter() - before


def _id(control: ControlClient) -> str:
    try:
        found = control.request("find", {"name": "large", "limit": 1})["tasks"]
    except SpoolmwError:
        return ""
    return str(found[0]["id"]) if found else ""
