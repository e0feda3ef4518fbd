"""SSH: what a host behind a real sshd costs, beside local cores in the same run of one daemon.

The host is this machine in namespaces of its own (`tests.support.lab`): the same two cores run
the daemon, both ends of ssh and the tasks, so the host's tasks have less of them than local ones.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.payloads import nothing, same
from benchmarks.report import Measure, Report, at_least
from benchmarks.service import TWO_SLOTS, Service
from benchmarks.workloads import MEGABYTE, TIMEOUT_S
from spoolmw import Spool
from spoolmw.client.submitter import Submitter
from tests.support.lab import lab, lacks

_HOST = """\
[agents.lab]
kind = "ssh"
hosts = ["pc01"]
slots = 2
python = ["{python}"]
ssh_config = "{ssh_config}"
"""


def ssh(folder: Path, report: Report, *, quick: bool) -> None:
    """No-op tasks and values of 1 MB over ssh to a host of this machine, and on local cores."""
    if lacks():
        report.say(f"SSH: skipped; {lacks()}")
        return
    count, large, rounds = (2_000, 50, 1) if quick else (10_000, 300, 3)
    data = os.urandom(MEGABYTE)
    with lab(folder / "lab", hidden=[folder / "spool"]) as hosts:
        config = TWO_SLOTS + _HOST.format(python=sys.executable, ssh_config=hosts.ssh_config)
        with Service(folder, config) as service:
            both = [Spool(service.spool).options(agents=[each]) for each in ("local", "lab")]
            for each in both:
                _rate(each, 200, nothing)
            plain = [[_rate(each, count, nothing) for each in both] for _ in range(rounds)]
            values = [[_rate(each, large, same, data) for each in both] for _ in range(rounds)]
    _tell(report, plain, values)


def _rate(spool: Submitter, count: int, function: Callable[..., Any], *args: Any) -> float:
    """Tasks per second, submitted one by one and gathered in order."""
    before = time.perf_counter()
    tasks = [spool.submit(function, *args) for _ in range(count)]
    for task in tasks:
        task.result(TIMEOUT_S)
    return count / (time.perf_counter() - before)


def _tell(report: Report, plain: list[list[float]], values: list[list[float]]) -> None:
    """Medians; each round has the local rate and the host's."""
    local, host = (statistics.median(column) for column in zip(*plain, strict=True))
    ratio = statistics.median(there / here for here, there in plain)
    megabytes = 2 * MEGABYTE / 1e6
    local_mb, host_mb = (
        statistics.median(column) * megabytes for column in zip(*values, strict=True)
    )
    report.add(
        Measure("SSH", "no-op tasks, local cores", local, "tasks/s"),
        Measure("SSH", "no-op tasks, the host", host, "tasks/s"),
        at_least("SSH", "  ratio to local", ratio, "x", 0.5),
        Measure("SSH", "1 MB there and back, local cores", local_mb, "MB/s"),
        at_least("SSH", "1 MB there and back, the host", host_mb, "MB/s", 60),
    )
