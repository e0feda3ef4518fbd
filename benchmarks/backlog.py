"""W4: what a long backlog costs. The agent is paused while the tasks pile up, then let go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.payloads import nothing
from benchmarks.report import Measure, Report, at_most
from benchmarks.service import Service, own_cpu_s
from spoolmw import Spool
from spoolmw.client.control import ControlClient

SHORT = 1_000  #: tasks; the backlog that a long one is compared with
IDLE_S = 10.0
TIMEOUT_S = 600.0
POLL_S = 0.05


def w4(folder: Path, report: Report, *, quick: bool) -> None:
    """A backlog of 100,000 tasks: CPU, memory, restart, and what waiting costs."""
    long = 10_000 if quick else 100_000
    with Service(folder) as service:
        _drained(service, SHORT)  # warm
        short_us = sorted(_drained(service, SHORT) for _ in range(5))[2]
        tasks, spent_s, took_s = _piled_up(service, long)
        memory_mb, idle = service.memory_mb(), _idle_percent(service)
        long_us = (spent_s + _let_go(service, tasks)) / long * 1e6
        _piled_up(service, long)
        service.stop()
        restart_s = service.start()
    growth = (long_us / short_us - 1) * 100
    report.add(
        Measure("W4", f"{long:,} pile up", long / took_s, "tasks/s"),
        Measure("W4", f"CPU at a backlog of {SHORT:,}", short_us, "us/task"),
        Measure("W4", f"CPU at a backlog of {long:,}", long_us, "us/task"),
        at_most("W4", "  more than with the short one", growth, "%", 20),
        at_most("W4", "daemon's memory with it", memory_mb, "MB", 200),
        at_most("W4", "daemon's CPU while idle", idle, "%", 1),
        at_most("W4", "restart with it", restart_s, "s", 5),
    )


def _drained(service: Service, count: int) -> float:
    """CPU microseconds per task of a backlog of `count`, from submit to the last result."""
    tasks, spent_s, _ = _piled_up(service, count)
    return (spent_s + _let_go(service, tasks)) / count * 1e6


def _piled_up(service: Service, count: int) -> tuple[list[Any], float, float]:
    """The tasks, the CPU seconds and the seconds until `count` tasks waited in the journal."""
    with ControlClient(service.spool) as control:
        control.request("pause", {"agent": None, "intake": False})
        spool = Spool(service.spool)
        cpu, before = own_cpu_s() + service.cpu_s(), time.perf_counter()
        tasks: list[Any] = [spool.submit(nothing) for _ in range(count)]
        while (queued := control.request("status")["tasks"].get("queued", 0)) < count:
            if time.perf_counter() - before > TIMEOUT_S:
                raise TimeoutError(f"only {queued} of {count} tasks were accepted")
            time.sleep(POLL_S)
        took_s = time.perf_counter() - before
        return tasks, own_cpu_s() + service.cpu_s() - cpu, took_s


def _let_go(service: Service, tasks: list[Any]) -> float:
    """CPU seconds from the release of the backlog to its last result."""
    cpu = own_cpu_s() + service.cpu_s()
    with ControlClient(service.spool) as control:
        control.request("resume", {"agent": None, "intake": False})
    for task in tasks:
        task.result(TIMEOUT_S)
    return own_cpu_s() + service.cpu_s() - cpu


def _idle_percent(service: Service) -> float:
    """The daemon's share of one core, with all that it started, while nothing happens."""
    time.sleep(1.0)
    cpu = service.cpu_s()
    time.sleep(IDLE_S)
    return (service.cpu_s() - cpu) / IDLE_S * 100
