"""How many attempts a worker may hold: about ten milliseconds of work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from spoolmw.runner.pool import MAX_DEPTH, Pool


def a_pool() -> Pool:
    nothing: Any = None
    return Pool(nothing, 2, [], nothing, lambda member: None)


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
