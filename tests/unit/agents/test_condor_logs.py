"""The event logs of an agent: what is kept of them while there are always jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("htcondor2")
from spoolmw.agents.condorlink import eventlogs
from spoolmw.agents.condorlink.eventlogs import EventLogs

MOST_BYTES = 1000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlogs, "MOST_BYTES", MOST_BYTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


def write(log: str, cluster: int, count: int = 1) -> None:
    """What a shadow writes when its job begins."""
    event = (
        f"001 ({cluster:03}.000.000) 2026-11-20 21:00:00 Job executing on host:"
        " <127.0.0.1:9618?alias=host1.test>\n...\n"
    )
    with open(log, "a") as file:
        file.write(event * count)


def clusters(logs: EventLogs) -> list[int]:
    return [each.job[0] for each in logs.news()]


def opened(path: Path, *in_use: str) -> EventLogs:
    logs = EventLogs(path, is_own=True)
    logs.open(in_use)
    return logs


def test_a_large_log_goes_on_for_its_jobs_and_new_ones_get_another(path: Path) -> None:
    logs = opened(path)
    old = logs.newest
    write(old, 1, 20)
    assert clusters(logs) == [1] * 20
    logs.keep({old})
    assert logs.newest == f"{path}.1" != old
    write(old, 1)
    write(logs.newest, 2)
    assert clusters(logs) == [1, 2]
    logs.keep({old, logs.newest})
    write(old, 1)
    assert clusters(logs) == [1]
    logs.close()


def test_one_that_no_job_writes_into_any_more_is_removed(path: Path) -> None:
    logs = opened(path)
    for number in range(1, 6):
        write(logs.newest, number, 20)
        assert clusters(logs) == [number] * 20
        logs.keep({logs.newest})
    logs.keep({logs.newest})
    assert [each.name for each in path.parent.iterdir()] == [Path(logs.newest).name]
    assert not logs.oddity()
    logs.close()


def test_a_large_one_without_jobs_begins_anew_under_its_name(path: Path) -> None:
    logs = opened(path)
    write(str(path), 1, 20)
    assert clusters(logs) == [1] * 20
    logs.keep(set())
    assert (logs.newest, path.stat().st_size) == (str(path), 0)
    write(str(path), 2)
    assert clusters(logs) == [2]
    logs.close()


def test_a_small_one_is_left_as_it_is(path: Path) -> None:
    logs = opened(path)
    write(str(path), 1)
    logs.keep({str(path)})
    assert logs.newest == str(path)
    assert clusters(logs) == [1]
    logs.close()


def test_who_comes_anew_follows_those_that_jobs_write_into(path: Path) -> None:
    for name in ("", ".1", ".2", ".10"):
        write(f"{path}{name}", 1)
    logs = opened(path, f"{path}.1")
    assert logs.newest == f"{path}.10"
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "events.log.1",
        "events.log.10",
    ]
    write(f"{path}.1", 2)
    write(f"{path}.10", 3)
    assert clusters(logs) == [2, 3], "what was before is not told"
    logs.close()


def test_who_comes_anew_and_finds_no_jobs_begins_at_the_first(path: Path) -> None:
    for name in ("", ".1"):
        write(f"{path}{name}", 1)
    logs = opened(path)
    assert [each.name for each in path.parent.iterdir()] == ["events.log"]
    assert (logs.newest, path.stat().st_size) == (str(path), 0)
    logs.close()


def test_an_odd_one_takes_all_others_with_it(path: Path) -> None:
    logs = opened(path)
    write(str(path), 1, 20)
    assert clusters(logs)
    logs.keep({str(path)})
    path.unlink()
    assert logs.oddity() == "No such file or directory"
    logs.open_anew()
    assert not logs.oddity()
    write(logs.newest, 2)
    assert clusters(logs) == [2]
    logs.close()


def test_somebody_elses_log_is_never_touched(path: Path) -> None:
    write(str(path), 1, 20)
    logs = EventLogs(path, is_own=False)
    logs.open(())
    write(str(path), 2)
    assert clusters(logs) == [2]
    logs.keep(())
    logs.open_anew()
    assert path.stat().st_size > MOST_BYTES
    assert logs.newest == str(path)
    logs.close()
