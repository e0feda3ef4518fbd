"""What a call means for what the front end has in hand, decided in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.boinclink import reports
from spoolmw.agents.boinclink.accounts import Account
from spoolmw.agents.boinclink.callers import Callers
from spoolmw.agents.boinclink.desk import Desk, Terms, Visit
from spoolmw.agents.boinclink.holdings import Holdings
from spoolmw.agents.boinclink.listing import Listed, Served
from spoolmw.agents.boinclink.matching import Bounds, Lines
from spoolmw.agents.boinclink.records import FAILED, REPORTED, Host, Records, Row
from spoolmw.agents.boinclink.request import Asked, HostFacts, Report

ANN = Account(name="ann", key="0" * 32, owner="ann", created=0.0)
BOB = Account(name="bob", key="1" * 32, owner="bob", created=0.0)
PLATFORM = "x86_64-pc-linux-gnu"
BOUNDS = Bounds(
    per_core=2, per_host=10, memory_bytes=1 << 20, disk_bytes=1 << 20, estimate_s=60
)
A, B = "a" * 32 + ".0.1", "b" * 32 + ".0.1"
TOKEN = "f" * 32
NOW = 1e9


class World:
    """A desk with all that it decides upon."""

    def __init__(self, folder: Path, hosts: list[Host] | None = None) -> None:
        self.records = Records(folder)
        self.callers = Callers(hosts or [])
        self.holdings = Holdings(self.records, Lines(BOUNDS))
        terms = Terms(name="lab", bounds=BOUNDS, deadline_s=100.0, platforms=[PLATFORM])
        self.desk = Desk(terms, self.records, self.callers, self.holdings)

    def launch(self, *attempts: str) -> None:
        packets = [f"{each}\n{TOKEN}\nactive/t" for each in attempts]
        for _ in self.holdings.enter([[{}, packets]]):
            pass

    def call(self, *, account: Account = ANN, now: float = NOW, **asked: Any) -> Visit:
        told = {"platforms": (PLATFORM,), "cpid": "c" * 32, "is_whole": True, **asked}
        return self.desk.visit(Asked(**told), account, now)

    def send(self, visit: Visit, now: float = NOW) -> list[Row]:
        """Jobs go to who calls."""
        asked = Asked(wants_work=True, seconds=1e6, platforms=(PLATFORM,))
        jobs = self.desk.choose(asked, visit, "ann", now)
        return [self.desk.send(each, visit.host, _listed(each.attempt), now) for each in jobs]


def _listed(attempt: str) -> Listed:
    file = Served(name=f"c_{attempt}", open_name="task", path="active/t", nbytes=3, md5="")
    return Listed(order=b"", files=(file,), most_bytes=99)


def good(name: str) -> Report:
    return Report(name=name, state=reports.STATE_OK)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[[Callable[[World], None]], None]]:
    """Acts in a world with a loop around it."""

    def act(story: Callable[[World], None]) -> None:
        async def told() -> None:
            made = World(tmp_path)
            story(made)
            await made.records.close()

        asyncio.run(told())

    yield act
    assert os.listdir(tmp_path)


Act = Callable[[Callable[[World], None]], None]


def test_an_id_is_given_once_and_known_by_the_data_folder_afterwards(world: Act) -> None:
    def story(w: World) -> None:
        first = w.call()
        assert (first.host.id, first.gave_id) == (1, True)
        assert w.call().host is first.host  # it never heard its id
        assert not w.call(host_id=1, seqno=1).gave_id
        assert w.call(host_id=1, seqno=3).host is first.host
        assert w.call(host_id=1, seqno=2).host.id == 2  # a copy
        assert w.call(host_id=1, seqno=9, account=BOB).host.id == 3
        assert w.call(host_id=77, seqno=1, cpid="d" * 32).host.id == 4
        assert w.call(host=HostFacts(name="twin", cores=64)).host.id == 5  # an image of a disk

    world(story)


def test_a_label_has_no_odd_letters_and_is_nobody_elses(world: Act) -> None:
    def story(w: World) -> None:
        host = w.call(host=HostFacts(name="../<x> \n.é..")).host
        assert host.label == "x-1"
        assert w.call(cpid="d" * 32).host.label == "host-2"

    world(story)


def test_reports_are_acknowledged_whatever_they_are_and_count_once(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        visit = w.call()
        [row] = w.send(visit)
        again = w.call(host_id=1, seqno=1, reports=(good(A), good("nonsense"), good(A)))
        assert (again.acks, again.landed) == ((A, "nonsense"), [A])
        assert row.state == REPORTED
        later = w.call(host_id=1, seqno=2, reports=(good(A),))
        assert (later.acks, later.landed, later.again, later.aborts) == ((A,), [], [], [])

    world(story)


def test_what_is_astray_is_sent_again_and_at_last_lost(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        [row] = w.send(w.call())
        for number in range(5):
            assert w.call(host_id=1, seqno=number).again == [row]
        assert not w.call(host_id=1, seqno=6, is_whole=False).again
        assert not w.call(host_id=1, seqno=7, in_progress=(A,)).again
        [(event, entry)] = w.call(host_id=1, seqno=8).told
        assert (event, entry["outcome"], entry["counts"]) == ("ended", "lost", False)
        assert row.state == FAILED

    world(story)


def test_what_nobody_wants_is_aborted_until_the_host_has_it_no_more(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        w.send(w.call())
        w.holdings.forget(A)
        visit = w.call(host_id=1, seqno=1, in_progress=(A, "stranger"))
        assert sorted(visit.aborts) == [A, "stranger"]
        assert A in w.holdings.rows
        w.call(host_id=1, seqno=2)
        assert not w.holdings.rows
        assert w.holdings.left() == [A]
        assert w.holdings.file_of(f"c_{A}") is None

    world(story)


def test_a_deadline_is_told_once_and_what_nobody_wants_is_dropped_then(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A, B)
        w.send(w.call())
        w.holdings.forget(B)
        assert not w.holdings.overdue(NOW + 99)
        rows = w.holdings.overdue(NOW + 101)
        told = [w.desk.overdue(each, "ann", NOW + 101) for each in rows]
        [(_, entry)] = [each for each in told if each]
        assert (entry["attempt"], entry["dead"], entry["blame"]) == (A, False, "deadline")
        assert not w.holdings.overdue(NOW + 999)
        assert list(w.holdings.rows) == [A]
        late = w.call(host_id=1, seqno=1, now=NOW + 999, reports=(good(A),))
        assert late.landed == [A]
        w.holdings.forget(A)
        assert not w.holdings.rows

    world(story)


def test_the_time_without_a_server_counts_for_no_deadline(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        [row] = w.send(w.call())
        w.holdings.put_off(NOW + 10, NOW + 40)
        assert row.deadline == NOW + 100
        w.holdings.put_off(NOW + 10, NOW + 1010)
        assert row.deadline == NOW + 2100
        assert not w.holdings.overdue(NOW + 2099)
        assert w.holdings.overdue(NOW + 2101) == [row]
        w.holdings.put_off(NOW + 3000, NOW + 9000)
        assert row.deadline == NOW + 2100  # it was over before

    world(story)


def test_our_clock_counts_not_the_hosts(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        [row] = w.send(w.call())
        for told in ((5.0, 8.0), (9e10, 9e10 + 3)):
            entry = {"started": told[0], "ended": told[1], "outcome": "success"}
            _, ended = w.desk.landed(row, "ann", entry, NOW + 50)
            assert (ended["started"], ended["ended"]) == (NOW + 47, NOW + 50)
        _, ended = w.desk.landed(row, "ann", {"started": 0.0, "ended": 9e9}, NOW + 50)
        assert ended["started"] == NOW

    world(story)


def test_a_client_of_another_platform_is_told_so(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        w.call(platforms=("i686-pc-linux-gnu", PLATFORM), cpid="e" * 32)
        assert w.callers.hosts[1].platform == "linux-x86_64"
        visit = w.call(platforms=("windows_x86_64",), wants_work=True)
        assert "windows_x86_64" in visit.messages[0][1]
        assert not w.desk.choose(Asked(wants_work=True, seconds=1.0), visit, "ann", NOW)

    world(story)


def test_what_a_host_lacks_is_remembered_for_some_days(world: Act) -> None:
    def story(w: World) -> None:
        w.launch(A)
        visit = w.call()
        [row] = w.send(visit)
        assert w.desk.lacks(row, "3.11", NOW, a_bundle_helps=True)
        assert visit.host.needs_bundle
        assert w.desk.lacks(row, "3.9", NOW, a_bundle_helps=False)
        assert not w.desk.lacks(row, "3.9", NOW, a_bundle_helps=False)
        assert visit.host.lacks == ("3.9",)
        w.call(host_id=1, seqno=1, now=NOW + 8 * 86400)
        assert (visit.host.needs_bundle, visit.host.lacks) == (False, ())

    world(story)


@pytest.mark.parametrize(
    ("state", "code", "elapsed_s", "cause", "counts", "is_hosts"),
    [
        (3, 1, 5.0, "vanished", True, True),
        (3, 1, 0.0, "launch", False, True),
        (3, 196, 5.0, "vanished", True, True),
        (3, -226, 5.0, "launch", False, True),
        (1, -186, 0.0, "launch", False, True),
        (6, 203, 5.0, "vanished", False, True),
        (6, 202, 5.0, "vanished", False, False),
        (3, 200, 0.0, "vanished", False, False),
    ],
)
def test_what_goes_wrong_on_a_host(
    state: int, code: int, elapsed_s: float, cause: str, counts: bool, is_hosts: bool
) -> None:
    report = Report(name=A, state=state, exit_status=code, elapsed_s=elapsed_s, stderr="a\nb")
    what = reports.misfortune(report)
    assert (what.cause, what.counts, what.is_hosts) == (cause, counts, is_hosts)
    assert what.message.endswith("a b")
