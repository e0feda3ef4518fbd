"""How many attempts a worker may hold: about ten milliseconds of work."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from spoolmw.runner import order
from spoolmw.runner.attempt import Attempt, Kind
from spoolmw.runner.pool import MAX_DEPTH, Pool


def a_pool(devices: Sequence[str] = ()) -> Pool:
    nothing: Any = None
    return Pool(nothing, 2, devices, nothing, lambda member: None)


def a_member(since: float) -> Any:
    return SimpleNamespace(since=since, sent=[], cpus=1)


@pytest.mark.parametrize("passed_s", [0.0, -0.001])
def test_many_ends_within_one_look_at_the_clock_do_not_stop_the_runner(passed_s: float) -> None:
    pool, member = a_pool(), a_member(since=10.0)
    pool.finished(member, 50, 10.0 + passed_s)
    assert pool.depth == MAX_DEPTH


def test_long_attempts_wait_at_the_runner_and_not_inside_a_worker() -> None:
    pool, member = a_pool(), a_member(since=10.0)
    pool.finished(member, 20, 30.0)
    assert pool.depth == 1


def test_what_its_worker_did_not_begin_holds_no_device_while_it_waits() -> None:
    """Its worker died as it was given to it; that happens often enough to a machine with one GPU."""
    pool = a_pool(devices=["0"])
    taken: list[object] = []
    worker: Any = SimpleNamespace(interpreter="python", sent=[], retired=False, cpus=1)
    worker.give = lambda attempt, now: not taken.append(attempt.devices)  # type: ignore[func-returns-value]
    pool.crew["w"] = worker
    kind = Kind({"gpus": 1})
    kind.path = "python"
    attempt = Attempt(order.lines("0" * 32 + ".0.1", "t" * 32, "active/x"), kind)
    pool.add([attempt])
    for _ in range(2):
        pool.dispatch(0.0)
        pool.put_back([attempt])
    assert taken == [("0",), ("0",)]
