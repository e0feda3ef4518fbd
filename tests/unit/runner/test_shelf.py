"""The shelf: reports are kept, told, released, and taken up again; its logs do not pile up."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from spoolmw.runner import keptlog
from spoolmw.runner import shelf as shelves
from spoolmw.runner.hostfolder import HostFolder
from spoolmw.runner.shelf import Shelf
from tests.support.waiting import wait_until

Report = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> HostFolder:
    made = HostFolder(str(tmp_path))
    made.make_tree()
    return made


def a_report(folder: HostFolder, number: int, body: bytes = b"body") -> Report:
    """A report whose body is staged, as a worker leaves it."""
    attempt = f"{number:032x}.0.1"
    if body:
        Path(folder.path(f"stage/{attempt}")).write_bytes(body)
    return {
        "attempt": attempt, "token": "t", "outcome": "success", "cause": "finished",
        "started": 1.0, "ended": 2.0, "cpu_s": 0.1, "memory_bytes": 1, "slot": "a-1",
        "body_bytes": len(body), "digest": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip


def logs(folder: HostFolder) -> list[str]:
    return sorted(os.listdir(folder.path("outbox")))


def reopened(folder: HostFolder, shelf: Shelf, *, rebooted: bool = True) -> Shelf:
    shelf.close()
    return Shelf(folder, rebooted=rebooted)


def test_small_bodies_move_into_the_log_and_large_ones_stay(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    small, empty = a_report(folder, 1), a_report(folder, 2, b"")
    large = a_report(folder, 3, bytes(shelves.SMALL_BYTES + 1))
    entries = shelf.keep([small, empty, large])
    assert [each.is_small for each in entries] == [True, True, False]
    assert [shelf.body(each) for each in entries[:2]] == [b"body", b""]
    assert shelf.is_there(entries[2])
    assert os.listdir(folder.path("stage")) == [large["attempt"]]
    shelf.close()


def test_they_are_taken_up_again_in_their_order(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    reports = [a_report(folder, number, b"%d" % number) for number in range(10)]
    shelf.keep(reports[:5])
    shelf.release([reports[2]["attempt"]])
    shelf.keep(reports[5:])
    again = reopened(folder, shelf)
    kept = [number for number in range(10) if number != 2]
    assert again.attempts() == [reports[number]["attempt"] for number in kept]
    assert [again.body(each) for each in again] == [b"%d" % number for number in kept]
    again.close()


def test_logs_whose_reports_were_all_released_go(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keptlog, "LOG_BYTES", 2000)
    shelf = Shelf(folder, rebooted=False)
    first = a_report(folder, 0)
    shelf.keep([first])
    for number in range(1, 200):
        report = a_report(folder, number)
        shelf.keep([report])
        shelf.release([report["attempt"]])
    assert len(logs(folder)) <= 3
    again = reopened(folder, shelf)
    assert again.attempts() == [first["attempt"]], "it waits in the oldest log"
    again.close()


def test_what_is_released_soon_is_never_synced(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    shelf = Shelf(folder, rebooted=False)
    report = a_report(folder, 1)
    shelf.keep([report])
    assert shelf.is_dirty
    shelf.release([report["attempt"]])
    shelf.sync()
    assert not shelf.is_dirty
    shelf.close()
    assert synced == []
    assert Path(folder.path("outbox/000000001.log")).stat().st_size == 0


def test_bodies_are_durable_before_the_logs_that_tell_of_them(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def note(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr(os, "fsync", note)
    shelf = Shelf(folder, rebooted=False)
    report = a_report(folder, 1, bytes(100_000))
    report["files"] = True
    Path(folder.path(f"stage/{report['attempt']}.files/deep")).mkdir(parents=True)
    Path(folder.path(f"stage/{report['attempt']}.files/deep/out")).touch()
    shelf.keep([report])
    shelf.sync()
    wait_until(lambda: any("outbox/0" in each for each in synced))
    ends = [each[len(folder.root) + 1 :].replace(report["attempt"], "A") for each in synced]
    assert ends == ["stage/A", "stage/A.files", "stage/A.files/deep/out", "stage/A.files/deep",
                    "outbox", "stage", "outbox/000000001.log"]  # fmt: skip
    shelf.close()


@pytest.mark.parametrize("cut", [1, 5, 6, 50, 300, 400])
def test_whatever_is_left_of_a_log_is_read_without_harm(folder: HostFolder, cut: int) -> None:
    shelf = Shelf(folder, rebooted=False)
    shelf.keep([a_report(folder, number) for number in range(3)])
    shelf.close()
    [name] = logs(folder)
    path = folder.path(f"outbox/{name}")
    os.truncate(path, max(0, Path(path).stat().st_size - cut))
    again = Shelf(folder, rebooted=True)
    assert len(again) < 3
    assert all(again.body(each) == b"body" for each in again)
    more = a_report(folder, 7)
    again.keep([more])
    third = reopened(folder, again)
    assert third.attempts()[-1] == more["attempt"]
    third.close()


def test_zeros_where_a_log_should_be_are_read_without_harm(folder: HostFolder) -> None:
    Path(folder.path("outbox/000000007.log")).write_bytes(bytes(10_000))
    shelf = Shelf(folder, rebooted=True)
    assert len(shelf) == 0
    shelf.keep([a_report(folder, 1)])
    again = reopened(folder, shelf)
    assert len(again) == 1
    again.close()


def test_what_is_damaged_after_a_reboot_is_a_loss(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    report = a_report(folder, 1, bytes(100_000))
    shelf.keep([report])
    Path(folder.path(f"stage/{report['attempt']}")).write_bytes(b"?" * 100_000)
    again = reopened(folder, shelf)
    [entry] = again
    assert len(list(again.check(entry))) == 1
    [lost] = again
    assert (lost.outcome, lost.body_bytes) == ("lost", 0)
    again.close()


def test_a_result_that_is_whole_after_a_reboot_is_kept(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    shelf.keep([a_report(folder, 1, bytes(20 << 20))])
    again = reopened(folder, shelf)
    [entry] = again
    assert not entry.sure
    assert len(list(again.check(entry))) == 3, "in steps"
    assert list(again) == [entry]
    assert entry.sure
    again.close()


def test_a_result_that_is_not_as_long_as_it_says_is_a_loss(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    report = a_report(folder, 1)
    Path(folder.path(f"stage/{report['attempt']}")).write_bytes(b"much longer")
    [entry] = shelf.keep([report])
    assert (entry.outcome, entry.body_bytes) == ("lost", 0)
    assert b'"blame":"host"' in entry.raw
    assert os.listdir(folder.path("stage")) == []
    shelf.close()


def test_on_a_full_disk_a_report_is_told_from_where_its_result_lies(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    shelf = Shelf(folder, rebooted=False)
    before, report, after = (a_report(folder, number) for number in range(3))
    shelf.keep([before])
    with monkeypatch.context() as during:
        during.setattr(os, "write", full)
        [entry] = shelf.keep([report])
    assert (entry.outcome, entry.is_small, shelf.is_there(entry)) == ("success", False, True)
    shelf.keep([after])
    again = reopened(folder, shelf)
    assert again.attempts() == [before["attempt"], after["attempt"]]
    again.close()


def test_a_body_that_came_with_its_report_is_kept_with_it(
    folder: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def enclosed(number: int) -> Report:
        report = a_report(folder, number)
        Path(folder.path(f"stage/{report['attempt']}")).unlink()
        return {**report, "body": base64.b64encode(b"body").decode()}

    shelf = Shelf(folder, rebooted=False)
    with monkeypatch.context() as during:
        during.setattr(os, "write", full)
        [first] = shelf.keep([enclosed(1)])
    [second] = shelf.keep([enclosed(2)])
    for entry in (first, second):
        assert (entry.is_small, shelf.body(entry)) == (True, b"body")
        assert b'"body":' not in entry.raw
    again = reopened(folder, shelf)
    assert [again.body(each) for each in again] == [b"body"]
    again.close()


def test_reports_that_wait_cost_little_memory(folder: HostFolder) -> None:
    shelf = Shelf(folder, rebooted=False)
    reports = [a_report(folder, number, bytes(2000)) for number in range(2000)]
    tracemalloc.start()
    for start in range(0, 2000, 100):
        shelf.keep(reports[start : start + 100])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2000 * 1500
    shelf.close()
