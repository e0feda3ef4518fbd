"""W6: what it costs that tasks run after others, beside as many that do not, in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.payloads import count_all, nothing, nothing_of
from benchmarks.report import Measure, Report, at_least, at_most
from benchmarks.service import Service
from spoolmw import Spool
from spoolmw.client.control import ControlClient

TIMEOUT_S = 600.0
WIDTH = 500  #: values that one reduce takes
IDLE_S = 5.0
POLL_S = 0.05


def w6(folder: Path, report: Report, *, quick: bool) -> None:
    """Dependencies: a chain, a fan-out with a fan-in, and 100,000 that wait for one."""
    links, leaves, waiting = (100, 1_000, 10_000) if quick else (500, 10_000, 100_000)
    with Service(folder) as service:
        spool = Spool(service.spool)
        _rate(200, lambda: [spool.submit(nothing) for _ in range(200)])  # warm
        one_by_one = _rate(links, lambda: [_alone(spool) for _ in range(links)])
        chain = _rate(links, lambda: [_chain(spool, links)])
        plain = _rate(leaves, lambda: [spool.submit(nothing) for _ in range(leaves)])
        fan = _rate(leaves, lambda: [_fan(spool, leaves)])
        memory_mb, idle, free_s = _crowd(service, spool, waiting)
    report.add(
        Measure("W6", f"{links} independent, one at a time", one_by_one, "tasks/s"),
        Measure("W6", f"a chain of {links}", chain, "tasks/s"),
        at_least("W6", "  ratio to one at a time", chain / one_by_one, "x", 0.5),
        Measure("W6", f"{leaves:,} independent, all at once", plain, "tasks/s"),
        Measure("W6", f"fan-out of {leaves:,} and fan-in", fan, "tasks/s"),
        at_least("W6", "  ratio to independent", fan / plain, "x", 0.25),
        at_most("W6", f"daemon's memory, {waiting:,} wait for one", memory_mb, "MB", 300),
        at_most("W6", "daemon's CPU while they wait", idle, "%", 2),
        Measure("W6", "  from its end until all are queued", free_s, "s"),
    )


def _rate(count: int, submit: Callable[[], list[Any]]) -> float:
    """Tasks in a second, from the first submit to the last result."""
    before = time.perf_counter()
    for task in submit():
        task.result(TIMEOUT_S)
    return count / (time.perf_counter() - before)


def _alone(spool: Spool) -> Any:
    """One task, waited for: what a program without dependencies would do for a chain."""
    task = spool.submit(nothing)
    task.result(TIMEOUT_S)
    return task


def _chain(spool: Spool, links: int) -> Any:
    task = spool.submit(nothing)
    for _ in range(links - 1):
        task = spool.submit(nothing_of, task)
    return task


def _fan(spool: Spool, leaves: int) -> Any:
    """One before all, then all, then sums of WIDTH, then one."""
    first = spool.submit(nothing)
    tasks = [spool.submit(nothing_of, first) for _ in range(leaves)]
    sums = [spool.submit(count_all, tasks[at : at + WIDTH]) for at in range(0, leaves, WIDTH)]
    return spool.submit(count_all, sums)


def _crowd(service: Service, spool: Spool, waiting: int) -> tuple[float, float, float]:
    """Memory and idle CPU while many wait for one, and how long it takes to let them go."""
    with ControlClient(service.spool) as control:
        control.request("pause", {"agent": None, "intake": False})
        first = spool.submit(nothing)
        after = spool.options(after=first)
        tasks = [after.submit(nothing) for _ in range(waiting)]
        _until(control, "waiting", waiting)
        memory_mb, idle = service.memory_mb(), _idle_percent(service)
        control.request("resume", {"agent": None, "intake": False})
        before = time.perf_counter()
        _until(control, "waiting", 0)
        free_s = time.perf_counter() - before
    for task in tasks:
        task.result(TIMEOUT_S)
    return memory_mb, idle, free_s


def _until(control: ControlClient, state: str, number: int) -> None:
    until = time.perf_counter() + TIMEOUT_S
    while (found := control.request("status")["tasks"].get(state, 0)) != number:
        if time.perf_counter() > until:
            raise TimeoutError(f"{found} tasks are {state}, not {number}")
        time.sleep(POLL_S)


def _idle_percent(service: Service) -> float:
    time.sleep(1.0)
    cpu = service.cpu_s()
    time.sleep(IDLE_S)
    return (service.cpu_s() - cpu) / IDLE_S * 100
