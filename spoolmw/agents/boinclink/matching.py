"""Which of the attempts that wait go to a host that asks for work. No I/O.

Attempts that need the same room stand in one line, in the order in which they came; a host looks
only at lines that it has room for, so what nobody can run holds nobody up.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spoolmw.agents.boinclink.records import Host

MOST_LOOKED_AT = 500  #: attempts, for one request
_MOST_AT_ONCE = 64  #: attempts, in one reply
_MEMORY = 0.9  #: of a host's: more a client uses for none, whoever is there
#: How clients name the platforms that we know, and how we do.
PLATFORMS = {
    "x86_64-pc-linux-gnu": "linux-x86_64",
    "aarch64-unknown-linux-gnu": "linux-aarch64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What hosts may have, and what is asked of them for who asks for nothing."""

    per_core: int
    per_host: int
    memory_bytes: int
    disk_bytes: int
    estimate_s: float


class Room(NamedTuple):
    """What an attempt needs of a machine."""

    cpus: int
    memory_bytes: int
    platform: str  #: "": any
    python: str  #: "": any


class Seat(NamedTuple):
    """A host, as the votes see it."""

    machine: str  #: its id
    owner: str
    label: str  #: its name


class Wish(NamedTuple):
    """What a client asks for."""

    seconds: float
    instances: float  #: idle cores


def room_of(kind: Mapping[str, Any], bounds: Bounds) -> Room:
    """What an attempt of this kind needs."""
    return Room(
        max(1, int(kind.get("cpus", 1))),
        int(kind.get("memory", 0)) or bounds.memory_bytes,
        str(kind.get("platform", "")),
        "" if kind.get("command") else str(kind.get("python", "")),
    )


def has_room(host: Host, room: Room, bounds: Bounds) -> bool:
    """Whether a host could run what needs this. What it does not say of itself counts for enough."""
    return (
        room.cpus <= host.cores
        and (not host.memory_bytes or room.memory_bytes <= host.memory_bytes * _MEMORY)
        and (not host.disk_bytes or bounds.disk_bytes <= host.disk_bytes)
        and room.platform in ("", host.platform)
        and room.python not in (host.lacks or ())
    )


def may_have(kind: Mapping[str, Any], seat: Seat) -> bool:
    """Whether an attempt there is independent of its task's others."""
    if seat.label in kind.get("avoid", ()):
        return False
    taken = kind.get("taken")
    return not taken or voter(str(kind.get("distinct", "host")), seat) not in taken


def voter(distinct: str, seat: Seat) -> str:
    """Who casts the vote of an attempt there: as `rules.independence.voter` names it."""
    match distinct:
        case "owner" if seat.owner:
            return f"owner {seat.owner}"
        case "slot":
            return f"slot  of {seat.machine}"  # a host's slots have no names
        case _:
            return f"host {seat.machine}"


def places(host: Host, bounds: Bounds, *, has: int, now: float) -> int:
    """How many more jobs a host may have that has so many."""
    if now < host.rests_until:
        return 0
    most = min(bounds.per_core * max(1, host.cores), bounds.per_host)
    if host.quota:
        most = min(most, host.quota)
    return max(0, min(most - has, _MOST_AT_ONCE))


def after_success(host: Host, bounds: Bounds) -> None:
    """A job of it ended well: it may have twice as many."""
    host.done += 1
    host.failures = 0
    host.rests_until = 0.0
    if host.quota:
        host.quota *= 2
        if host.quota >= min(bounds.per_core * host.cores, bounds.per_host):
            host.quota = 0


def after_failure(host: Host, bounds: Bounds, now: float) -> None:
    """A job of it failed: it may have half as many, and rests when that goes on."""
    host.failed += 1
    host.failures += 1
    most = host.quota or min(bounds.per_core * host.cores, bounds.per_host)
    host.quota = max(1, most // 2)
    if host.failures > 1:
        host.rests_until = now + min(86400.0, 30.0 * 2.0 ** min(host.failures - 2, 20))


class Lines:
    """The attempts that wait, by what they need of a machine."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lines: dict[Room, dict[str, tuple[int, Mapping[str, Any]]]] = {}
        self._room: dict[str, Room] = {}
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._room)

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._room

    def enter(self, attempt: str, kind: Mapping[str, Any]) -> None:
        """An attempt waits from now on."""
        if attempt in self._room:
            return
        room = room_of(kind, self._bounds)
        self._room[attempt] = room
        self._lines.setdefault(room, {})[attempt] = (next(self._count), kind)

    def leave(self, attempt: str) -> bool:
        """It waits no more; returns whether it did."""
        room = self._room.pop(attempt, None)
        if room is None:
            return False
        line = self._lines[room]
        del line[attempt]
        if not line:
            del self._lines[room]
        return True

    def choose(self, host: Host, seat: Seat, wish: Wish, places: int) -> list[str]:
        """Those that go to this host, the first first; they leave their lines."""
        chosen: list[str] = []
        seconds, instances = max(wish.seconds, 1e-9), wish.instances
        looked = itertools.islice(self._fitting(host), MOST_LOOKED_AT)
        for _, attempt, kind, room in looked:
            if len(chosen) >= places or (seconds <= 0 and instances <= 0):
                break
            if not may_have(kind, seat):
                continue
            chosen.append(attempt)
            seconds -= self._bounds.estimate_s * room.cpus
            instances -= room.cpus
        for attempt in chosen:
            self.leave(attempt)
        return chosen

    def _fitting(self, host: Host) -> Iterator[tuple[int, str, Mapping[str, Any], Room]]:
        """What the host has room for, the first first."""

        def line_of(room: Room) -> Iterator[tuple[int, str, Mapping[str, Any], Room]]:
            for attempt, (number, kind) in self._lines[room].items():
                yield number, attempt, kind, room

        rooms = [each for each in self._lines if has_room(host, each, self._bounds)]
        return heapq.merge(*map(line_of, rooms), key=lambda each: each[0])

    def misfits(self, hosts: list[Host]) -> dict[str, str]:
        """Attempts that no host has room for, each with why."""
        found: dict[str, str] = {}
        for room, line in self._lines.items():
            if not any(has_room(each, room, self._bounds) for each in hosts):
                why = _why(room, len(hosts))
                found.update(dict.fromkeys(itertools.islice(line, 100), why))
        return found


def _why(room: Room, hosts: int) -> str:
    if not hosts:
        return "no host has called yet"
    parts = [f"{room.cpus} cores" if room.cpus > 1 else "1 core"]
    parts.append(f"{math.ceil(room.memory_bytes / 1e7) / 100:g} GB of memory")
    parts += [room.platform] if room.platform else []
    parts += [f"Python {room.python}"] if room.python else []
    return f"it waits for ever: no host of the project, of {hosts}, has {', '.join(parts)}"
