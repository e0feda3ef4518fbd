"""How fast a host takes short tasks through its keeper, beside an agent that stands at the runner."""

from __future__ import annotations

import os
import time

from spoolmw.agents.ledger import kind_of
from spoolmw.agents.registry import make_agent
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Launch
from spoolmw.model.events import Reported
from tests.keeper.work import double
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, Line, packet

TASKS = int(os.environ.get("SPOOLMW_PACE", "1000"))
AHEAD = 2048
TOGETHER = 256


def local_s(bench: Bench, works: list[Launch]) -> float:
    """Seconds that the local agent takes."""
    agent = make_agent(AgentConfig(name="here", kind="local", slots=2), bench.root, bench.heard)
    try:
        warm = bench.call(double, 1)
        agent.launch([warm])
        bench.heard.end_of(warm)
        awaited = count(bench) + len(works)
        before = time.perf_counter()
        agent.launch(works)
        bench.heard.wait(lambda: count(bench) >= awaited, 200)
        return time.perf_counter() - before
    finally:
        agent.close(0)


def count(bench: Bench) -> int:
    return sum(isinstance(each, Reported) for each in bench.heard.events)


def far_s(line: Line, bench: Bench, works: list[Launch]) -> float:
    """Seconds that the host takes, files and results brought there and back."""
    todo, done = list(works), 0
    before = time.perf_counter()
    while done < len(works):
        while todo and len(works) - len(todo) - done < AHEAD:
            part, todo = todo[:TOGETHER], todo[TOGETHER:]
            texts = [(bench.root / each.path).read_bytes() for each in part]
            files = [[each.path, len(text)] for each, text in zip(part, texts, strict=True)]
            line.say("puts", files=files, bytes=sum(map(len, texts)))
            line.bytes(b"".join(texts))
            line.say("launch", work=[[kind_of(part[0]), [packet(each) for each in part]]])
        assert line.listen(5.0)
        told = line.reports()
        assert all(report["outcome"] == "success" for report, _ in told.values())
        line.say("release", attempts=list(told))
        line.events.clear()
        done += len(told)
    return time.perf_counter() - before


def test_many_short_tasks_leave_nothing_on_the_host(host: FarHost, bench: Bench) -> None:
    """What it says of the pace (`pytest -s`) is to be looked at, and asserted nowhere."""
    works = [[bench.call(double, n) for n in range(TASKS)] for _ in range(2)]
    line = host.client()
    warm = bench.call(double, 1)
    line.launch(bench.root, warm)
    line.report_of(warm)
    line.events.clear()
    far = far_s(line, bench, works[0])
    line.release(warm)
    line.settle()
    assert (host.listed("stage"), host.listed("packs")) == ([], [])
    local = local_s(bench, works[1])
    print(f"{TASKS / far:.0f} tasks/s through a keeper, {TASKS / local:.0f} local")
