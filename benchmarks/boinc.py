"""BOINC: a campus of desktops that poll, and what each replica costs; all of it on this machine.

The hosts are those of `tests.support.fakeclient`: they speak as the stock client does, check every
file and signature, and make each result up at once. So the daemon and its link are measured, not
the computing; the hosts share the machine's cores with them.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import resource
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.payloads import nothing
from benchmarks.report import Measure, Report, at_most
from benchmarks.service import Service, tree_cpu_s
from spoolmw import Spool
from spoolmw.agents.boinclink import accounts
from tests.support.boinchttp import Answer, Cut, Wire
from tests.support.boincsite import free_port
from tests.support.daemon import family
from tests.support.fakeclient import FakeHost, Refused

_CONFIG = """\
[agents.lab]
kind = "boinc"
listen = "127.0.0.1:{port}"
url = "http://127.0.0.1:{port}/grid/"
poll = "5s"
max_jobs = 20000
max_waiting = 4000
per_core = 2
request_memory = "64MiB"
request_disk = "1MiB"
[agents.local]
slots = 2
"""
_PERIOD_S = 7.0  #: between two requests of a stock client that is told to poll after 5 s
_OWNERS = 50
_PER_ADDRESS = 50  #: hosts behind one address
_PATIENCE_S = 1800.0


class _Timed(Wire):
    """Notes how long each answer took."""

    def __init__(self, address: str, seen: dict[str, list[float]]) -> None:
        super().__init__(address=address)
        self._seen = seen

    async def ask(self, url: str, body: bytes | None = None, **more: Any) -> Answer:
        began = time.perf_counter()
        answer = await super().ask(url, body, **more)
        kind = "download" if body is None else "upload" if "upload" in url else "scheduler"
        self._seen[kind].append(time.perf_counter() - began)
        return answer


class _Campus:
    """The hosts, and what they saw."""

    def __init__(self, port: int, keys: Sequence[str], count: int) -> None:
        self.seen: dict[str, list[float]] = defaultdict(list)
        self.refusals: Counter[str] = Counter()
        cache: dict[str, bytes] = {}
        self.hosts = []
        for number in range(count):
            url, key = f"http://127.0.0.1:{port}/grid/", keys[number % len(keys)]
            host = FakeHost(url, key, name=f"pc{number:04}", cache=cache)
            group = number // _PER_ADDRESS
            host.wire = _Timed(f"127.1.{group // 200}.{1 + group % 200}", self.seen)
            self.hosts.append(host)
        self._is_over = asyncio.Event()

    async def live(self, seconds: float, *, period_s: float, works: bool) -> None:
        """Each asks once in a period, spread evenly, for so long or until told to end."""
        self._is_over.clear()
        ends_at = time.monotonic() + seconds
        await asyncio.gather(
            *(self._host(host, ends_at, period_s, works=works) for host in self.hosts)
        )

    def end(self) -> None:
        self._is_over.set()

    async def _host(
        self, host: FakeHost, ends_at: float, period_s: float, *, works: bool
    ) -> None:
        at = time.monotonic() + random.random() * period_s  # spreads load
        while at < ends_at and not self._is_over.is_set():
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            at = max(at + period_s, time.monotonic())
            try:
                await host.work() if works else await host.poll()
            except (Cut, Refused, OSError) as error:
                self.refusals[f"{type(error).__name__}: {error}"[:200]] += 1


def boinc(folder: Path, report: Report, *, quick: bool) -> None:
    """2,000 desktops that poll, then 50,000 replicas in a quorum of two on them: ten minutes."""
    count, tasks, polling_s = (200, 1_000, 15.0) if quick else (2_000, 25_000, 60.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))
    port = free_port()
    with Service(folder, _CONFIG.format(port=port)) as service:
        root = Path(service.spool)
        there = accounts.folder_of(root, "lab")
        keys = [accounts.add(there, f"owner{number}").key for number in range(_OWNERS)]
        asyncio.run(_measure(service, report, _Campus(port, keys, count), tasks, polling_s))


async def _measure(
    service: Service, report: Report, campus: _Campus, tasks: int, polling_s: float
) -> None:
    link = _link(service.pid)
    await campus.live(_PERIOD_S * 1.5, period_s=_PERIOD_S, works=False)  # they attach
    campus.seen.clear()
    campus.refusals.clear()
    cpu, began = _cpu_s(link), time.perf_counter()
    await campus.live(polling_s, period_s=_PERIOD_S, works=False)
    report.say(str(campus.refusals.most_common(5)))
    _tell_polling(report, campus, _cpu_s(link) - cpu, time.perf_counter() - began)
    campus.seen.clear()
    campus.refusals.clear()
    before = _cpu_s(service.pid), _cpu_s(link)
    watch = _Watch(service.spool, tasks, (service.pid, link), campus)
    submitting = threading.Thread(target=_submit, args=(service.spool, tasks))
    began = time.perf_counter()
    submitting.start()
    watching = asyncio.create_task(watch.run())
    await campus.live(_PATIENCE_S, period_s=_PERIOD_S, works=True)
    await watching
    submitting.join()
    took_s = time.perf_counter() - began
    spent = _cpu_s(service.pid) - before[0], _cpu_s(link) - before[1]
    report.say(str(campus.refusals.most_common(5)))
    _tell_work(report, campus, watch, (took_s, *spent), tasks)


def _submit(spool: Path, tasks: int) -> None:
    voting = Spool(spool).options(quorum=2, keep=True, agents=["lab"])
    for _ in range(tasks):
        voting.submit(nothing)


class _Watch:
    """Counts results, and looks how large the processes become."""

    def __init__(self, spool: Path, tasks: int, pids: Sequence[int], campus: _Campus) -> None:
        self._results = spool / "results"
        self._tasks = tasks
        self._pids = pids
        self._campus = campus
        self.most_mb = [0.0 for _ in pids]
        self.has_all = False

    async def run(self) -> None:
        ends_at = time.monotonic() + _PATIENCE_S
        while not self.has_all and time.monotonic() < ends_at:
            await asyncio.sleep(2)
            self.most_mb = [
                max(seen, _memory_mb(pid))
                for seen, pid in zip(self.most_mb, self._pids, strict=True)
            ]
            self.has_all = _results(self._results) >= self._tasks
        self._campus.end()


def _results(folder: Path) -> int:
    with os.scandir(folder) as found:
        return sum(each.name.endswith(".result") for each in found)


def _tell_polling(report: Report, campus: _Campus, cpu_s: float, took_s: float) -> None:
    asked = campus.seen["scheduler"]
    report.add(
        Measure("BOINC", f"{len(campus.hosts)} hosts poll", len(asked) / took_s, "requests/s"),
        Measure("BOINC", "  answer, median", _quantile(asked, 0.5) * 1e3, "ms"),
        Measure("BOINC", "  answer, p99", _quantile(asked, 0.99) * 1e3, "ms"),
        Measure("BOINC", "  the link's CPU", cpu_s / took_s * 100, "%"),
        Measure("BOINC", "  refused or failed", campus.refusals.total(), ""),
    )


def _tell_work(
    report: Report,
    campus: _Campus,
    watch: _Watch,
    costs: tuple[float, float, float],
    tasks: int,
) -> None:
    took_s, daemon_s, link_s = costs
    replicas, asked = 2 * tasks, campus.seen["scheduler"]
    report.add(
        Measure("BOINC", f"{replicas} replicas, quorum 2", replicas / took_s, "replicas/s"),
        Measure("BOINC", "  all have their result", float(watch.has_all), ""),
        Measure("BOINC", "  requests of all kinds", _rate(campus, took_s), "requests/s"),
    )
    for kind, times in sorted(campus.seen.items()):
        report.add(
            Measure("BOINC", f"  {kind}, median", _quantile(times, 0.5) * 1e3, "ms"),
            Measure("BOINC", f"  {kind}, p99", _quantile(times, 0.99) * 1e3, "ms"),
        )
    report.add(
        Measure("BOINC", "  the link's CPU", link_s * 1e3 / replicas, "ms/replica"),
        Measure(
            "BOINC", "  the daemon's CPU", (daemon_s - link_s) * 1e3 / replicas, "ms/replica"
        ),
        at_most("BOINC", "  the daemon's memory", watch.most_mb[0], "MB", 500),
        Measure("BOINC", "  the link's memory", watch.most_mb[1], "MB"),
        Measure("BOINC", "  scheduler requests", float(len(asked)), ""),
        Measure("BOINC", "  refused or failed", campus.refusals.total(), ""),
    )


def _rate(campus: _Campus, took_s: float) -> float:
    return sum(map(len, campus.seen.values())) / took_s


def _quantile(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, math.floor(share * len(times)))] if times else 0.0


def _link(daemon: int) -> int:
    for pid in family(daemon):
        if b"boinclink" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise RuntimeError("the daemon has no link process for clients")


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    return tree_cpu_s(pid)


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
