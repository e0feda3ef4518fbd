"""Which host gets what: room, votes, bounds, and what a host's record makes of it."""

from __future__ import annotations

import pytest

from spoolmw.agents.boinclink import matching
from spoolmw.agents.boinclink.matching import Bounds, Lines, Seat, Wish
from spoolmw.agents.boinclink.records import Host

BOUNDS = Bounds(
    per_core=2, per_host=10, memory_bytes=1 << 30, disk_bytes=1 << 30, estimate_s=60
)
SEAT = Seat("boinc lab/1", "ann", "pc-1")
MUCH = Wish(1e9, 0)
NOW = 1e9


def a_host(**more: object) -> Host:
    facts = {
        "cores": 4,
        "memory_bytes": 8 << 30,
        "disk_bytes": 9 << 30,
        "platform": "linux-x86_64",
    }
    host = Host(1, "ann", "c" * 32, 0.0)
    for key, value in {**facts, **more}.items():
        setattr(host, key, value)
    return host


def chosen(host: Host, *kinds: dict[str, object], wish: Wish = MUCH, most: int = 99) -> str:
    """The letters of the attempts that go there, which wait in the order of the alphabet."""
    lines = Lines(BOUNDS)
    for letter, kind in zip("abcdefgh", kinds, strict=False):
        lines.enter(letter, kind)
    return "".join(lines.choose(host, SEAT, wish, most))


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ({}, True),
        ({"cpus": 4}, True),
        ({"cpus": 5}, False),
        ({"memory": 7 << 30}, True),
        ({"memory": 8 << 30}, False),
        ({"platform": "linux-aarch64"}, False),
        ({"platform": "linux-x86_64"}, True),
        ({"python": "3.9"}, False),
        ({"python": "3.9", "command": True}, True),
        ({"python": "3.11"}, True),
        ({"avoid": ["pc-1"]}, False),
        ({"avoid": ["pc-11"]}, True),
        ({"distinct": "host", "taken": ["host boinc lab/1"]}, False),
        ({"distinct": "host", "taken": ["host boinc lab/2"]}, True),
        ({"distinct": "owner", "taken": ["owner ann"]}, False),
        ({"distinct": "owner", "taken": ["owner bob"]}, True),
        ({"distinct": "slot", "taken": ["slot  of boinc lab/1"]}, False),
    ],
)
def test_what_fits_a_host(kind: dict[str, object], fits: bool) -> None:
    assert chosen(a_host(lacks=("3.9",)), kind) == ("a" if fits else "")


def test_a_host_without_room_or_an_owner_is_its_own_voter() -> None:
    nobody = Seat("boinc lab/1", "", "pc-1")
    assert matching.voter("owner", nobody) == "host boinc lab/1"
    assert chosen(a_host(disk_bytes=1), {}) == ""


def test_the_first_come_first_whatever_they_need() -> None:
    assert chosen(a_host(), {}, {"cpus": 2}, {}, {"memory": 5}) == "abcd"


def test_what_nobody_can_run_holds_nobody_up() -> None:
    lines = Lines(BOUNDS)
    for number in range(2000):
        lines.enter(f"x{number}", {"cpus": 64})
    lines.enter("y", {})
    assert lines.choose(a_host(), SEAT, MUCH, 5) == ["y"]


def test_a_client_gets_what_fills_its_wish() -> None:
    assert chosen(a_host(), *[{}] * 8, wish=Wish(1.0, 0.0)) == "a"
    assert chosen(a_host(), *[{}] * 8, wish=Wish(0.0, 3.0)) == "abc"
    assert chosen(a_host(), *[{}] * 8, wish=Wish(200.0, 0.0)) == "abcd"
    assert chosen(a_host(), *[{"cpus": 2}] * 8, wish=Wish(0.0, 4.0)) == "ab"
    assert chosen(a_host(), *[{}] * 8, most=2) == "ab"


def test_what_was_chosen_waits_no_more_and_the_rest_does() -> None:
    lines = Lines(BOUNDS)
    for letter in "ab":
        lines.enter(letter, {})
    assert lines.choose(a_host(), SEAT, MUCH, 1) == ["a"]
    assert ("a" in lines, "b" in lines, len(lines)) == (False, True, 1)
    assert lines.leave("b")
    assert not lines.leave("b")


def test_bounds_of_a_host() -> None:
    assert matching.places(a_host(), BOUNDS, has=0, now=NOW) == 8
    assert matching.places(a_host(), BOUNDS, has=7, now=NOW) == 1
    assert matching.places(a_host(cores=64), BOUNDS, has=0, now=NOW) == 10
    assert matching.places(a_host(quota=3), BOUNDS, has=1, now=NOW) == 2
    assert matching.places(a_host(rests_until=NOW + 1), BOUNDS, has=0, now=NOW) == 0


def test_who_fails_gets_half_and_rests_who_succeeds_gets_twice() -> None:
    host = a_host()
    quotas = []
    for _ in range(5):
        matching.after_failure(host, BOUNDS, NOW)
        quotas.append((host.quota, host.rests_until - NOW if host.rests_until else 0))
    assert quotas == [(4, 0), (2, 30), (1, 60), (1, 120), (1, 240)]
    matching.after_success(host, BOUNDS)
    assert (host.quota, host.failures, host.rests_until) == (2, 0, 0.0)
    for _ in range(2):
        matching.after_success(host, BOUNDS)
    assert host.quota == 0
    assert (host.done, host.failed) == (3, 5)


def test_what_fits_nobody_is_told_with_what_it_needs() -> None:
    lines = Lines(BOUNDS)
    lines.enter("a", {"cpus": 64, "memory": 4 * 10**9, "platform": "linux-aarch64"})
    lines.enter("b", {})
    [(attempt, why)] = lines.misfits([a_host()]).items()
    assert attempt == "a"
    assert why.endswith("of 1, has 64 cores, 4 GB of memory, linux-aarch64")
    assert set(lines.misfits([])) == {"a", "b"}
