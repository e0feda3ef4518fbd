"""The workloads: what is submitted, what is measured, and what it should be.

W1 no-op tasks one by one; W2 one at a time on an idle daemon; W3 commands; W4 a backlog;
W5 large values. Each peer is measured right before spoolmw, so both see the same machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.payloads import nothing, same
from benchmarks.peers import (
    TRUE,
    Rate,
    flush_latencies_ms,
    pool_latencies_ms,
    pool_rate,
    spawn_rate,
)
from benchmarks.report import Measure, Report, at_least, at_most
from benchmarks.service import Service, own_cpu_s
from spoolmw import Spool

#: The goals in microseconds and milliseconds were set on a machine on which the pool's CPU was
#: 114 us per task and the disk took 2 ms for the flushes of one task. Machines differ, and one
#: machine differs from hour to hour: what holds anywhere is the ratio to both, in the same run.
POOL_CPU_US = 114
FLOOR_MS = 2
TIMEOUT_S = 600.0  #: a result that takes longer is a defect, not a slow machine
MEGABYTE = 1_000_000


def w1(folder: Path, report: Report, *, quick: bool) -> None:
    """No-op Python tasks, submitted one by one, results gathered."""
    count, rounds = (2_000, 1) if quick else (20_000, 3)
    pools, ours = _side_by_side(folder, count, rounds, nothing)
    rate, pool = _median(ours), _median(pools)
    ratio = statistics.median(o.per_s / p.per_s for o, p in zip(ours, pools, strict=True))
    times = statistics.median(o.cpu_us / p.cpu_us for o, p in zip(ours, pools, strict=True))
    report.add(
        Measure("W1", "ProcessPoolExecutor(2)", pool.per_s, "tasks/s"),
        Measure("W1", "  its CPU", pool.cpu_us, "us/task"),
        Measure("W1", "spoolmw", rate.per_s, "tasks/s"),
        at_least("W1", "ratio to the pool", ratio, "x", 0.30),
        at_most("W1", "  its CPU, all processes", rate.cpu_us, "us/task", 400),
        at_most("W1", "  in times the pool's", times, "x", round(400 / POOL_CPU_US, 2)),
    )


def w2(folder: Path, report: Report, *, quick: bool) -> None:
    """One no-op task at a time, when nothing else is going on: from submit to result."""
    count, pause_s = (100, 0.02) if quick else (500, 0.02)
    pool = pool_latencies_ms(count, pause_s)
    floor = statistics.median(flush_latencies_ms(folder, count, pause_s))
    with Service(folder) as service:
        spool = Spool(service.spool)
        _gather(spool.submit(nothing) for _ in range(20))
        ours = []
        for _ in range(count):
            time.sleep(pause_s)
            before = time.perf_counter()
            spool.submit(nothing).result(TIMEOUT_S)
            ours.append((time.perf_counter() - before) * 1e3)
    p50 = statistics.median(ours)
    report.add(
        Measure("W2", "ProcessPoolExecutor(2), p50", statistics.median(pool), "ms"),
        at_most("W2", "spoolmw, p50", p50, "ms", 4),
        Measure("W2", "  the disk's flushes alone, p50", floor, "ms"),
        at_most("W2", "  in times the disk's", p50 / floor, "x", 4 / FLOOR_MS),
        Measure("W2", "spoolmw, p99", statistics.quantiles(ours, n=100)[98], "ms"),
    )


def w3(folder: Path, report: Report, *, quick: bool) -> None:
    """Commands: /bin/true, each with its output files."""
    count = 500 if quick else 4_000
    spawned = spawn_rate(count)
    with Service(folder) as service:
        spool = Spool(service.spool)
        _gather(spool.command([TRUE]) for _ in range(20))
        ours = _measure(service, count, lambda: spool.command([TRUE]))
    goal = min(700.0, 0.35 * spawned)
    report.add(
        Measure("W3", "posix_spawn, two at a time", spawned, "commands/s"),
        at_least("W3", "spoolmw", ours.per_s, "commands/s", round(goal)),
        Measure("W3", "ratio to posix_spawn", ours.per_s / spawned, "x"),
        Measure("W3", "  its CPU, all processes", ours.cpu_us, "us/command"),
    )


def w5(folder: Path, report: Report, *, quick: bool) -> None:
    """Large values: an argument of 1 MB and a result of 1 MB; both count."""
    count = 50 if quick else 500
    data = os.urandom(MEGABYTE)
    pools, ours = _side_by_side(folder, count, 1 if quick else 3, same, data)
    megabytes = 2 * len(data) / 1e6
    report.add(
        Measure("W5", "ProcessPoolExecutor(2)", _median(pools).per_s * megabytes, "MB/s"),
        at_least("W5", "spoolmw", _median(ours).per_s * megabytes, "MB/s", 300),
        Measure("W5", "  its CPU, all processes", _median(ours).cpu_us, "us/task"),
    )


def _side_by_side(
    folder: Path, count: int, rounds: int, function: Callable[..., Any], *args: Any
) -> tuple[list[Rate], list[Rate]]:
    """`rounds` times the pool and then spoolmw on the same work."""
    pools, ours = [], []
    with Service(folder) as service:
        spool = Spool(service.spool)
        _gather(spool.submit(nothing) for _ in range(200))
        for _ in range(rounds):
            pools.append(pool_rate(count, function, *args))
            ours.append(_measure(service, count, lambda: spool.submit(function, *args)))
    return pools, ours


def _measure(service: Service, count: int, submit: Callable[[], Any]) -> Rate:
    """Submit `count` tasks and gather them; the CPU of the client and of the daemon's tree."""
    cpu, before = own_cpu_s() + service.cpu_s(), time.perf_counter()
    _gather(submit() for _ in range(count))
    took = time.perf_counter() - before
    return Rate(count / took, (own_cpu_s() + service.cpu_s() - cpu) / count * 1e6)


def _gather(tasks: Iterable[Any]) -> None:
    """Submit all, then take every result, in order."""
    for task in list(tasks):
        task.result(TIMEOUT_S)


def _median(rates: list[Rate]) -> Rate:
    return Rate(*(statistics.median(column) for column in zip(*rates, strict=True)))
