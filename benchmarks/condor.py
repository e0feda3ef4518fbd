"""CONDOR: what a pool of HTCondor costs, with one job for each task and with pilots, in one run.

The pool is this machine (`tests.support.pool`): a manager, a schedd and three execute hosts of two
cores each share its real cores with the daemon and the tasks, and its intervals are short.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.payloads import nothing
from benchmarks.report import Measure, Report, at_least
from benchmarks.service import tree_cpu_s
from benchmarks.workloads import TIMEOUT_S
from spoolmw.client.submitter import Submitter
from tests.support.condor import lacks
from tests.support.condorsite import Site
from tests.support.pool import Pool
from tests.support.waiting import wait_until

_PILOTS = """\
[agents.pilots]
kind = "condor"
mode = "pilot"
schedd = "{schedd}"
condor_config = "{config}"
request_memory = "64MiB"
request_disk = "1MiB"
lease = "5m"
listen = "127.0.0.1:0"
slots = 2
max = 3
idle = "{idle}"
"""
_TASK_S = 0.1
_GOAL = 10.0  #: so many times faster pilots are to be


def condor(_folder: Path, report: Report, *, quick: bool) -> None:
    """Tasks of 0.1 s in a pool of three hosts, by pilots and by one job each: ten minutes."""
    if lacks():
        report.say(f"CONDOR: skipped; {lacks()}")
        return
    count = 200 if quick else 2_000
    with Pool(hosts=3, cpus=2) as pool:
        told = {"schedd": pool.schedd_name, "config": pool.by_user}
        with Site(pool, others=_PILOTS.format(**told, idle="5s")) as site:
            rates = {}
            for name, agent in (("pilots", "pilots"), ("jobs", "pool")):
                spool = site.spool.options(agents=[agent])
                cold, warm = _once(spool), statistics.median(_once(spool) for _ in range(5))
                before, began = tree_cpu_s(site.daemon.pid), time.perf_counter()
                _gather(spool, count, time.sleep, _TASK_S)
                took_s = time.perf_counter() - began
                cpu_ms = (tree_cpu_s(site.daemon.pid) - before) * 1e3 / count
                rates[name] = count / took_s
                report.add(
                    Measure("CONDOR", f"{name}: submit to result, cold", cold, "s"),
                    Measure("CONDOR", "  the same, warm", warm, "s"),
                    Measure("CONDOR", f"  {count} tasks of {_TASK_S} s", took_s, "s"),
                    Measure("CONDOR", "  the same", rates[name], "tasks/s"),
                    Measure("CONDOR", "  the daemon's and its links' CPU", cpu_ms, "ms/task"),
                )
                wait_until(lambda: not site.queue("ClusterId"), timeout_s=120)
    ratio = rates["pilots"] / rates["jobs"]
    report.add(at_least("CONDOR", "pilots to jobs", ratio, "x", _GOAL))


def _once(spool: Submitter) -> float:
    """Seconds from the submission of one task to its result."""
    before = time.perf_counter()
    spool.submit(nothing).result(TIMEOUT_S)
    return time.perf_counter() - before


def _gather(spool: Submitter, count: int, function: Callable[..., Any], *args: Any) -> None:
    tasks = [spool.submit(function, *args) for _ in range(count)]
    for task in tasks:
        task.result(TIMEOUT_S * 3)
