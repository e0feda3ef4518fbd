"""An attempt on a host that is anybody's: only what nobody has to unpickle comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spoolmw.agents.batch.collecting import Collected
from spoolmw.format import resultfile
from tests.support.attempts import Bench
from tests.support.batchjob import BatchSystem

SETUP = {"values": "safe"}


class Own:
    """A value that only a pickle can carry."""


class OwnError(Exception):
    """One that a pickle could carry."""


def unsorted() -> dict[str, int]:
    return {"b": 1, "a": 2}


def within() -> list[object]:
    return [1, Own()]


def fail() -> None:
    raise OwnError("told")


def ran(system: BatchSystem, work: object) -> Collected:
    return system.run(work, setup=SETUP)  # type: ignore[arg-type]


@pytest.mark.parametrize("wish", ["auto", "safe", "pickle"])
def test_a_value_travels_in_the_safe_codec_whatever_was_wished(
    bench: Bench, system: BatchSystem, wish: str
) -> None:
    work = bench.call(unsorted, result=wish)
    assert ran(system, work).report["outcome"] == "success"
    assert bench.result(work).header["codec"] == "safe"
    assert bench.value(work) == {"a": 2, "b": 1}


@pytest.mark.parametrize("function", [Own, within])
def test_another_value_is_an_error_of_the_task_that_says_what_can_be_returned(
    bench: Bench, system: BatchSystem, function: type
) -> None:
    work = bench.call(function)
    report = ran(system, work).report
    assert (report["outcome"], report["cause"], report["blame"]) == ("error", "codec", "task")
    for word in (f"{__name__}.Own", "volunteers", "numpy arrays", "[place] agents"):
        assert word in report["message"]
    assert bench.result(work).header["codec"] == ""


def test_an_exception_travels_as_text(bench: Bench, system: BatchSystem) -> None:
    work = bench.call(fail)
    report = ran(system, work).report
    assert (report["outcome"], report["cause"]) == ("error", "exception")
    header = resultfile.read_head(bench.staged(work))
    assert (header["codec"], header["bytes"]) == ("", 0)
    assert header["exception"]["type"] == "OwnError"
    assert "told" in header["exception"]["traceback"]


def test_files_of_a_command_travel_as_they_do_elsewhere(
    bench: Bench, system: BatchSystem
) -> None:
    work = bench.command("sh", "-c", "echo 5 > out.txt; echo said", outputs=("out.txt",))
    assert ran(system, work).report["outcome"] == "success"
    assert (Path(f"{bench.staged(work)}.files") / "out.txt").read_text() == "5\n"


def test_the_order_says_so(bench: Bench, system: BatchSystem) -> None:
    job = system.job(bench.call(unsorted), setup=SETUP)
    order = json.loads((job.packed.source / "order.json").read_text())
    assert order["setup"]["values"] == "safe"
