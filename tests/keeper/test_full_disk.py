"""A full disk on a host: nothing is blamed on the task, and work goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.keeper.work import double, hold, large
from tests.support.attempts import Bench
from tests.support.farhost import FarHost
from tests.support.smalldisk import fill, small_disk

TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"


@pytest.fixture
def tight(host: FarHost) -> Iterator[FarHost]:
    """A host whose folder lies on a file system of 4 MB."""
    above = host.folder.parent
    above.mkdir(mode=0o700)
    with small_disk(above, "mode=700"):
        yield host
        host.end()


def test_what_cannot_be_put_is_refused_and_the_rest_goes_on(
    tight: FarHost, bench: Bench
) -> None:
    line = tight.client()
    line.put(f"values/{TASK}", bytes(6 << 20))
    [[place, why]] = line.until("refused")["places"]
    assert (place, why) == (f"values/{TASK}", "No space left on device")
    work = bench.call(double, 2)
    line.launch(bench.root, work)
    assert line.report_of(work)[0]["outcome"] == "success"


def test_an_attempt_whose_file_found_no_room_is_lost_through_the_host(
    tight: FarHost, bench: Bench
) -> None:
    line = tight.client()
    ballast = fill(tight.folder.parent)
    work = bench.call(double, 2)
    line.launch(bench.root, work)
    line.until("refused")
    report, _ = line.report_of(work)
    assert (report["outcome"], report["counts"], report["missing"]) == (
        "lost",
        False,
        [work.path],
    )
    line.release(work)
    ballast.unlink()
    again = bench.again(work)
    line.launch(bench.root, again)
    assert line.report_of(again)[0]["outcome"] == "success"


def test_a_result_that_finds_no_room_is_a_loss_without_blame_for_the_task(
    tight: FarHost, bench: Bench
) -> None:
    flag = bench.root / "flag"
    line = tight.client(slots=1)
    small, big = bench.call(hold, str(flag)), bench.call(large, 1 << 20)
    line.launch(bench.root, small, big)
    line.until("started")
    ballast = fill(tight.folder.parent)
    flag.touch()
    assert line.report_of(small)[0]["outcome"] in ("lost", "success")  # a page may be free
    report, body = line.report_of(big)
    assert (report["outcome"], report["counts"], body) == ("lost", False, b"")
    assert report["blame"] in ("host", "agent")
    ballast.unlink()
    work = bench.again(big)
    line.launch(bench.root, work)
    assert line.report_of(work)[0]["outcome"] == "success"
    line.release(small, big, work)
    line.settle()
    assert tight.listed("stage") == []


def test_a_keeper_starts_on_a_full_disk(tight: FarHost, bench: Bench) -> None:
    line = tight.client()
    work = bench.call(double, 2)
    line.launch(bench.root, work)
    line.report_of(work)
    ballast = fill(tight.folder.parent)
    tight.reboot()
    again = tight.client()
    assert again.report_of(work)[0]["outcome"] == "success"
    ballast.unlink()
    again.release(work)
    more = bench.call(double, 3)
    again.launch(bench.root, more)
    assert again.report_of(more)[0]["outcome"] == "success"
