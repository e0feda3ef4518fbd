"""Any graph of tasks, in any order, with failures, cancels and restarts, ends as a simple oracle says.

The oracle knows nothing of events, indexes or journals: it reads off the graph what must come
of each task, and from a history of what was launched that none ran too early or twice.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spoolmw.format.resultfile import read_trailer
from spoolmw.runner import results
from tests.support.bench import Bench

MOST = 7  #: tasks in a graph
EXAMPLES = int(os.environ.get("SPOOLMW_GRAPHS", "25"))


@dataclass
class Graph:
    """Tasks are numbers; `after[n]` may name any, also itself, and such as are never dropped."""

    after: dict[int, list[int]]
    fails: set[int]
    holds: set[int]
    chance: random.Random = field(repr=False)


def a_graph(seed: int) -> Graph:
    """Most edges lead to tasks that were dropped before, some forward, backward or nowhere."""
    chance = random.Random(seed)
    number = chance.randint(3, MOST)
    order = chance.sample(range(number), number)
    after = {}
    for place, one in enumerate(order):
        before = chance.sample(order[:place], min(place, chance.randint(0, 3)))
        wild = [chance.randint(0, number)] if chance.random() < 0.15 else []
        after[one] = list(dict.fromkeys([*before, *wild]))
    some = range(number)
    fails = set(chance.sample(some, chance.choice([0, 0, 1, 1, 2])))
    return Graph(after, fails, set(chance.sample(some, chance.choice([0, 1, 2]))), chance)


def taken(graph: Graph) -> list[int]:
    """Those that are accepted, in order: all but such as would close a circle."""
    accepted: dict[int, list[int]] = {}
    for one in graph.after:
        accepted[one] = graph.after[one]
        if one in reachable(one, accepted):
            del accepted[one]
    return list(accepted)


def reachable(start: int, edges: dict[int, list[int]]) -> set[int]:
    found: set[int] = set()
    todo = list(edges.get(start, ()))
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += edges.get(one, ())
    return found


class Oracle:
    """What must become of each task, once nothing moves any more."""

    def __init__(self, graph: Graph, accepted: list[int], cancelled: set[int]) -> None:
        self._graph, self._accepted, self._cancelled = graph, accepted, cancelled

    def end(self, one: int) -> str:
        if one not in self._accepted:
            return "unknown"
        if one in self._cancelled:
            return "cancelled"
        before = {self.end(each) for each in self._graph.after[one]}
        if before & {"failed", "cancelled"}:
            return "held" if one in self._graph.holds else "failed"
        if before - {"done"}:
            return "waiting"
        return "failed" if one in self._graph.fails else "done"

    def culprits(self, one: int) -> set[int]:
        """Whose fault the failure of `one` may be said to be."""
        ends = {each: self.end(each) for each in self._graph.after[one]}
        bad = {each for each, end in ends.items() if end in ("failed", "cancelled")}
        if not bad or one in self._cancelled:
            return {one}
        return set().union(*map(self.culprits, bad))


class Story:
    """Lives one graph through on a bench."""

    def __init__(self, bench: Bench, graph: Graph) -> None:
        self.bench = bench
        self.graph = graph
        self.ids: dict[int, str] = {}
        self.cancelled: set[int] = set()
        self.launches: Counter[int] = Counter()
        self.restarts = 0
        self._seen = 0

    def tell(self) -> None:
        for one in self.graph.after:
            self.drop(one)
            if self.graph.chance.random() < 0.1:
                self.restart()
        while True:
            self.happen()
            self.watch()
            if not self.running() and not self.moves():
                return

    def drop(self, one: int) -> None:
        words = [f"t{each}" for each in self.graph.after[one]]
        lines = [f"#SPOOLMW after = {json.dumps(words)}"] if words else []
        if one in self.graph.holds:
            lines.append("#SPOOLMW after_failed = hold")
        self.bench.drop(f"t{one}", "\n".join(["#!/bin/sh", *lines, "true", ""]))
        rejected = self.bench.layout.rejected / f"t{one}.reason"
        self.bench.until(lambda: rejected.exists() or self.find(one))
        if not rejected.exists():
            self.ids[one] = self.find(one)

    def find(self, one: int) -> str:
        return next((t.id for t in self.bench.parts.table if t.spec.name == f"t{one}"), "")

    def restart(self) -> None:
        self.watch()
        self.bench.close()
        self.bench.start()
        self._seen = 0
        self.restarts += 1

    def running(self) -> list[int]:
        """Tasks with a running attempt."""
        rows = [task for task in self.bench.parts.table if task.lease is not None]
        return sorted(int(task.spec.name[1:]) for task in rows)

    def moves(self) -> bool:
        moving = any(t.state.value in ("queued", "delivering") for t in self.bench.parts.table)
        return moving or self.bench.parts.reactor.owes()

    def happen(self) -> None:
        chance = self.graph.chance
        what = chance.random()
        open_ones = [
            one for one, task in self.ids.items() if task in self.bench.parts.table.tasks
        ]
        if what < 0.25:
            self.restart()
        elif what < 0.35 and open_ones:
            one = chance.choice(open_ones)
            answer = self.bench.ask("cancel", ids=[self.ids[one]])
            assert isinstance(answer, dict)
            if answer["results"][0]["ok"]:
                self.cancelled.add(one)
        elif self.running():
            self.finish(chance.choice(self.running()))
        self.bench.ticks(1)

    def finish(self, one: int) -> None:
        [task] = [t for t in self.bench.parts.table if t.spec.name == f"t{one}"]
        known = {launch.attempt for launch in self.bench.agent.launched}
        if task.attempt_id in known:
            wrong = results.failed("exit", "exit 3", exit_code=3)
            self.bench.agent.finish(task.attempt_id, wrong if one in self.graph.fails else None)

    def watch(self) -> None:
        """Nothing is launched before all that it runs after was delivered as success."""
        for launch in self.bench.agent.launched[self._seen :]:
            one = int(launch.spec.name[1:])
            self.launches[one] += 1
            for each in self.graph.after[one]:
                assert self.trailer(each)["state"] == "done"
        self._seen = len(self.bench.agent.launched)

    def trailer(self, one: int) -> dict[str, object]:
        return read_trailer(self.bench.layout.results / f"t{one}.result")

    def end(self, one: int) -> str:
        if one not in self.ids:
            return "unknown"
        task = self.bench.parts.table.tasks.get(self.ids[one])  # type: ignore[call-overload]
        return task.state.value if task is not None else str(self.trailer(one)["state"])


@contextmanager
def a_bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home))
        try:
            yield bench
        finally:
            bench.close()


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_every_graph_ends_as_the_oracle_says(seed: int) -> None:
    graph = a_graph(seed)
    with a_bench() as bench:
        story = Story(bench, graph)
        story.tell()
        oracle = Oracle(graph, taken(graph), story.cancelled)
        names = {task: one for one, task in story.ids.items()}
        for one in graph.after:
            assert story.end(one) == oracle.end(one), f"t{one}"
            assert story.launches[one] <= 1 + story.restarts
            if oracle.end(one) == "failed" and one not in oracle.culprits(one):
                trailer = story.trailer(one)
                assert trailer["cause"] == "predecessor"
                said = str(trailer["message"])
                assert names[said[said.index("(") + 1 :][:32]] in oracle.culprits(one)
        ended = [
            one for one in graph.after if story.end(one) in ("done", "failed", "cancelled")
        ]
        assert len(list(bench.layout.results.glob("*.result"))) == len(ended)
