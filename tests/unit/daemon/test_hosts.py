"""Hosts' records: each mark counts once, whatever the disk does, and a pause is told."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.daemon.batch import Batch
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.daemon.hosts import Hosts
from spoolmw.errors import DiskFull
from spoolmw.model.agent import Capacity
from spoolmw.model.effects import Score
from spoolmw.model.events import Cancelled
from spoolmw.model.host import HostRecord, Mark
from spoolmw.model.ids import AgentName
from spoolmw.model.replica import Spot
from spoolmw.rules import trust
from spoolmw.store.journal import Journal
from tests.unit.rules.ballots import a_success
from tests.unit.rules.builders import a_task
from tests.unit.rules.test_redundant import AGREED, BOTH_RUN, JUDGING, ONE_REPORTED

WALL = 1_770_000_000.0
PC01 = Spot(machine="m" * 16, host="pc01")


def marked(hosts: Hosts, *marks: Mark, spot: Spot = PC01, wall: float = WALL) -> HostRecord:
    for mark in marks:
        hosts.score(Score(spot, mark), wall)
    return hosts.records[spot.machine]


def test_a_host_is_known_from_its_first_mark_on_by_its_machine() -> None:
    hosts = Hosts()
    record = marked(hosts, Mark.VALID, Mark.INVALID)
    assert (record.name, record.valid, record.invalid) == ("pc01", 1, 1)
    assert hosts.named("pc01") == hosts.named("m" * 16) == [record]


def test_a_machine_that_is_renamed_stays_the_same_host() -> None:
    hosts = Hosts()
    marked(hosts, Mark.VALID)
    record = marked(hosts, Mark.VALID, spot=replace(PC01, host="lab7"))
    assert (record.name, record.valid) == ("lab7", 2)
    assert hosts.named("pc01") == []


def test_a_mark_for_a_machine_that_nobody_knows_is_nobodys() -> None:
    hosts = Hosts()
    hosts.score(Score(Spot(machine="", host="pc01"), Mark.VALID), WALL)
    assert hosts.records == {}
    assert not hosts.is_changed()


def test_only_what_changed_is_to_be_committed() -> None:
    known = HostRecord(machine="n" * 16, name="pc02")
    hosts = Hosts([known])
    assert not hosts.is_changed()
    record = marked(hosts, Mark.VALID)
    assert hosts.changed() == [record]
    hosts.committed()
    assert hosts.changed() == []


def test_a_host_that_pauses_itself_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    hosts = Hosts()
    with caplog.at_level(logging.INFO):
        record = marked(hosts, *[Mark.INVALID] * (trust.BUDGET + 3))
        marked(hosts, *[Mark.VALID] * trust.TRUSTED_FROM)  # they were under way
    assert record.paused.startswith("6 of its last 6 results were faults")
    [line] = [each.getMessage() for each in caplog.records]
    assert "host paused" in line
    assert "host=pc01" in line


def test_a_probe_that_is_valid_releases_it_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hosts = Hosts()
    record = marked(hosts, *[Mark.INVALID] * (trust.BUDGET + 1))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again = marked(hosts, Mark.INVALID, wall=record.probe_at)
        assert "its probe was invalid too" in again.paused
        assert marked(hosts, Mark.VALID, wall=again.probe_at).paused == ""
    paused, released = [each.getMessage() for each in caplog.records]
    assert "host paused" in paused
    assert "host released" in released


class NoRoom(Journal):
    """A journal on a full disk."""

    def commit(self, *args: object, **more: object) -> None:
        raise DiskFull("no room")


def test_a_commit_that_found_no_room_is_tried_again_and_marks_nobody_twice(
    tmp_path: Path,
) -> None:
    journal = Journal.open(tmp_path / "spoolmw.db")
    hosts = Hosts(journal.hosts())
    batch = Batch(hosts)
    valid = Score(PC01, Mark.VALID)
    batch.note(None, Cancelled(at=0.0), replace(JUDGING, seq=1), (valid,))
    full = NoRoom(journal.path, journal._db)
    with pytest.raises(DiskFull):
        batch.commit(full, now_boot=1.0, boot_id="boot")
    batch.commit(journal, now_boot=1.0, boot_id="boot")
    assert [each.valid for each in journal.hosts()] == [1]
    assert not hosts.is_changed()
    again = Batch(hosts)
    assert not again
    journal.close()


def test_a_record_changed_by_hand_is_committed_without_any_task(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "spoolmw.db")
    hosts = Hosts(journal.hosts())
    batch = Batch(hosts)
    hosts.put(trust.paused_by_hand(HostRecord(machine="m" * 16), "paused by me"))
    assert batch
    batch.commit(journal, now_boot=1.0, boot_id="boot")
    assert [each.paused for each in journal.hosts()] == ["paused by me"]
    assert not batch
    journal.close()


def test_what_a_replica_staged_is_durable_before_its_report_is(tmp_path: Path) -> None:
    """It is delivered much later, maybe, but from its commit on the vote relies on it."""
    batch = Batch(Hosts())
    batch.note(BOTH_RUN, a_success(0), ONE_REPORTED, ())
    assert batch.needs_sync
    plain = Batch(Hosts())
    plain.note(None, a_success(0), a_task(), ())
    assert not plain.needs_sync


def test_a_mark_is_no_effect_that_is_performed() -> None:
    hosts = Hosts()
    batch = Batch(hosts)
    batch.note(JUDGING, Cancelled(at=0.0), AGREED, (Score(PC01, Mark.VALID),))
    assert batch.effects == []


HAND = HostRecord(machine="a" * 16, name="pc02", paused="by ann", paused_by_hand=True)
DUE = HostRecord(machine="b" * 16, name="pc01", paused="5 faults", probe_at=WALL - 1)
GOOD = HostRecord(machine="c" * 16, name="pc03")


def test_who_chooses_among_hosts_is_told_which_ones_are_paused() -> None:
    """A replica may come to one that is due for a probe; what nobody compares may not."""
    rooms = {
        AgentName("engine"): Capacity(slots=9),
        AgentName("pc09"): Capacity(slots=9, host="pc09", machine="d" * 16),
        AgentName("away"): Capacity(slots=0, host="pc10"),
    }
    dispatch = Dispatch(rooms)
    dispatch.hosts = {each.machine: each for each in (HAND, DUE, GOOD)}
    dispatch.look_at_hosts(WALL)
    engine, *others = (
        (dispatch.shunned(each, replica=False), dispatch.shunned(each, replica=True))
        for each in rooms
    )
    assert engine == (("pc01", "pc02"), ("pc02",))
    assert others == [((), ())] * 2
    dispatch.hosts = {GOOD.machine: GOOD}
    dispatch.look_at_hosts(WALL)
    assert dispatch.shunned(AgentName("engine"), replica=False) == ()
