"""One attempt through the whole of a host: attach, keeper, runner, worker, and back."""

from __future__ import annotations

from tests.support.attempts import Bench
from tests.support.farhost import FarHost


def double(number: int) -> int:
    return 2 * number


def test_an_attempt_is_brought_run_told_and_released(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(double, 21)
    line.launch(bench.root, work)
    report, body = line.report_of(work)
    assert report["outcome"] == "success"
    bench.staged(work).write_bytes(body)
    assert bench.value(work) == 42
    line.release(work)
    line.settle()
    assert host.listed("stage") == []
    assert [each for each in host.path("active").rglob("*") if each.is_file()] == []
