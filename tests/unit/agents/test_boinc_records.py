"""What the front end keeps: durable before it is said, all of it there after a restart."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from spoolmw.agents.boinclink.records import (
    FAILED,
    NAME,
    REPORTED,
    Host,
    Records,
    RecordsTrouble,
    Row,
)

ATTEMPT = "a" * 32 + ".0.1"


def a_row(attempt: str = ATTEMPT) -> Row:
    return Row(attempt, 1, 10.0, 20.0, 1000, "f" * 32)


def with_records(folder: Path, act: Callable[[Records], Awaitable[None]]) -> None:
    """Open, act, close."""

    async def all_of_it() -> None:
        records = Records(folder)
        try:
            await act(records)
        finally:
            await records.close()

    asyncio.run(all_of_it())


def seen_by_another(folder: Path) -> list[tuple[object, ...]]:
    """What stands in the file for whoever opens it now."""
    with sqlite3.connect(folder / NAME) as other:
        found = other.execute("SELECT attempt, state, is_unwanted, report FROM results")
        rows = found.fetchall()
    other.close()
    return rows


def test_what_is_settled_is_durable_and_what_is_not_may_not_be(tmp_path: Path) -> None:
    async def act(records: Records) -> None:
        row = a_row()
        records.send(row, {"files": []}, b"order")
        assert not seen_by_another(tmp_path)
        await records.settled()
        row.state, row.report = FAILED, '{"x": 1}'
        records.change(row)
        await records.settled()
        assert seen_by_another(tmp_path) == [(ATTEMPT, FAILED, 0, '{"x": 1}')]

    with_records(tmp_path, act)


def test_all_is_there_again(tmp_path: Path) -> None:
    host = Host(7, "ann", "c" * 32, 1.0, seqno=4, seen=2.0, name="pc", cores=8, lacks=("3.9",))
    host.needs_bundle, host.quota, host.rests_until = True, 3, 99.0

    async def write(records: Records) -> None:
        records.put_host(host)
        row = a_row()
        records.send(row, {"files": [1]}, b"order")
        row.state = REPORTED
        records.change(row)
        await records.settled()

    async def read(records: Records) -> None:
        [again] = records.hosts()
        slots = Host.__slots__  # type: ignore[attr-defined]
        assert [getattr(again, e) for e in slots] == [getattr(host, e) for e in slots]
        [(row, job)] = records.rows()
        assert (row.attempt, row.host, row.state, row.token) == (ATTEMPT, 1, REPORTED, "f" * 32)
        assert job == {"files": [1]}
        assert records.job_of(ATTEMPT) == ({"files": [1]}, b"order")
        assert records.job_of("b") is None

    with_records(tmp_path, write)
    with_records(tmp_path, read)


def test_what_can_wait_is_written_at_the_end_at_the_latest(tmp_path: Path) -> None:
    async def write(records: Records) -> None:
        records.send(a_row(), {}, b"")
        await records.settled()
        records.drop(ATTEMPT)
        records.put_host(Host(1, "ann", "", 0.0, seqno=5), can_wait=True)

    async def read(records: Records) -> None:
        assert [each.seqno for each in records.hosts()] == [5]
        assert not list(records.rows())

    with_records(tmp_path, write)
    with_records(tmp_path, read)


def test_many_share_a_commit(tmp_path: Path) -> None:
    async def act(records: Records) -> None:
        commits = 0

        async def one(number: int) -> None:
            records.send(a_row(f"{number:032x}.0.1"), {}, b"")
            await records.settled()

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        records._write.set_trace_callback(count)
        await asyncio.gather(*(one(number) for number in range(200)))
        assert len(seen_by_another(tmp_path)) == 200
        assert commits <= 3

    with_records(tmp_path, act)


def test_what_cannot_be_written_is_kept_until_it_can(tmp_path: Path) -> None:
    async def act(records: Records) -> None:
        blocker = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        records._write.execute("PRAGMA busy_timeout = 0")
        blocker.execute("BEGIN IMMEDIATE")
        records.send(a_row(), {}, b"")
        with pytest.raises(RecordsTrouble):
            await records.settled()
        with pytest.raises(RecordsTrouble):
            await records.settled()  # at once
        blocker.execute("COMMIT")
        blocker.close()
        async with asyncio.timeout(20):
            while records.trouble:
                await asyncio.sleep(0.05)
        await records.settled()
        assert len(seen_by_another(tmp_path)) == 1

    with_records(tmp_path, act)


def test_versions_of_the_application_have_numbers_for_ever(tmp_path: Path) -> None:
    async def act(records: Records) -> None:
        first, second = records.version_of("aa"), records.version_of("bb")
        assert (records.version_of("aa"), second) == (first, first + 1)

    with_records(tmp_path, act)
    with_records(tmp_path, act)


def test_a_damaged_file_is_set_aside_and_a_newer_one_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(os.urandom(8192))

    async def is_empty(records: Records) -> None:
        assert records.is_anew
        assert not list(records.hosts())

    with_records(tmp_path, is_empty)
    assert list(tmp_path.glob(f"{NAME}.damaged-*"))
    with sqlite3.connect(tmp_path / NAME) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(RecordsTrouble, match="version 99"):
        with_records(tmp_path, is_empty)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    async def act(records: Records) -> None:
        records.send(a_row(), {}, b"")
        await records.settled()
        for each in tmp_path.iterdir():
            assert each.stat().st_mode & 0o077 == 0, each

    with_records(tmp_path, act)


def test_what_could_wait_undoes_nothing_that_was_put_after_it(tmp_path: Path) -> None:
    """A call of a host can wait, what its report in the same call says of it cannot."""

    async def write(records: Records) -> None:
        host = Host(1, "ann", "", 0.0, seqno=5)
        records.put_host(host, can_wait=True)
        host.failures, host.rests_until, host.lacks = 2, 99.0, ("3.9",)
        records.put_host(host)
        await records.settled()
        with sqlite3.connect(tmp_path / NAME) as other:
            [[told]] = other.execute("SELECT told FROM hosts")
        other.close()
        again = json.loads(told)
        assert (again["failures"], again["rests_until"], again["lacks"]) == (2, 99.0, ["3.9"])

    with_records(tmp_path, write)


def test_an_applications_number_is_written_between_commits_never_in_the_middle_of_one(
    tmp_path: Path,
) -> None:
    """If that failed, half of what is then said to be durable would be taken back."""

    async def act(records: Records) -> None:
        said: list[str] = []
        in_commit = threading.Event()

        class Slow(tuple[int]):
            def __len__(self) -> int:
                in_commit.set()
                time.sleep(0.3)
                return 1

        records._write.set_trace_callback(said.append)
        records.send(a_row(), {}, b"")
        records._put(lambda: ("SELECT ?", Slow((1,))))
        records.send(a_row("b" * 32 + ".0.1"), {}, b"")
        await asyncio.to_thread(in_commit.wait, 5)
        records.version_of("aa")
        await records.settled()
        words = [each.split()[1 if each.startswith("INSERT") else 0] for each in said]
        assert words[:5] == ["BEGIN", "OR", "SELECT", "OR", "COMMIT"], said
        assert words[5:8] == ["BEGIN", "INTO", "COMMIT"], said

    with_records(tmp_path, act)
