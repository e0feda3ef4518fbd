"""How many pilots there should be: pure rules over what is known of the seats.

Rule 1: as many are on the way as the waiting tasks could fill, and never fewer than `least` live.
Rule 2: a pilot without work for `idle_s` is drained, one whose time is over too; only what waits in
the batch system and is not needed any more is withdrawn.
Rule 3: pilots that end within seconds, several in a row, pause the section; then one at a time is
tried, after a pause that doubles. So it goes with pilots that never found a task they could run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

SOON_S = 10.0  #: a pilot that ends sooner than that after its first contact has failed
FRESH_S = (
    2.0  #: after its coming a pilot has what it takes, and the demand that is told knows it
)
MOST_FAILURES = 3  #: in a row; then the section is paused
MOST_BARREN = 3  #: pilots in a row that were given nothing; then the next waits longer
_FIRST_PAUSE_S = 1.0  #: after a failure; doubles
_PAUSED_S = 60.0  #: doubles
_LONGEST_PAUSE_S = 900.0
_MOST_AT_ONCE = 100  #: submitted in one go


class Phase(Enum):
    """How a seat stands."""

    EMPTY = "empty"
    AHEAD = "ahead"  #: its pilot is submitted, and has not called yet
    UP = "up"
    AWAY = "away"  #: its pilot called once, and is not connected now
    LEAVING = "leaving"  #: its pilot takes nothing more


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What the rules look at. Times are of the monotonic clock."""

    number: int
    phase: Phase
    since: float = 0.0  #: of this phase
    idle_since: float | None = None  #: UP and without work; None: it has some
    called_at: float = 0.0  #: its pilot's first contact


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the section says."""

    least: int = 0
    most: int = 1
    slots: int = 1  #: of each pilot
    idle_s: float = 300.0
    lifetime_s: float = 86400.0
    give_up_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """What the last pilots came to."""

    failures: int = 0  #: in a row
    barren: int = 0  #: in a row
    until: float = 0.0  #: nothing is submitted before
    pause_s: float = 0.0  #: how long that was, when it began
    why: str = ""  #: of the last failure


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one pilot ended."""

    lived_s: float | None = None  #: from its first contact; None: there was none
    worked: bool = False  #: it was given something
    in_order: bool = False  #: it was told to end, or ended for lack of work
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done. Seats by their numbers."""

    submit: tuple[int, ...] = ()
    drain: tuple[tuple[int, str], ...] = ()  #: with the reason
    withdraw: tuple[tuple[int, str], ...] = ()  #: their jobs are removed, with the reason


def plan(bounds: Bounds, seats: Sequence[Seat], demand: int, mood: Mood, now: float) -> Plan:
    """What follows when tasks for `demand` slots wait that could run here."""
    drain = tuple(_drained(bounds, seats, now))
    withdraw = tuple(_withdrawn(bounds, seats, demand, now))
    leaving = {number for number, _ in (*drain, *withdraw)}
    left = [each for each in seats if each.number not in leaving]
    count = _wanted(bounds, left, demand, mood, now)
    free = [each.number for each in seats if each.phase is Phase.EMPTY]
    return Plan(submit=tuple(free[:count]), drain=drain, withdraw=withdraw)


def after(mood: Mood, end: End, idle_s: float, now: float) -> Mood:
    """The mood when a pilot has ended."""
    early = end.lived_s is None or end.lived_s < SOON_S
    if early and not end.in_order and not end.worked:
        return _failed(mood, end.why, now)
    if end.lived_s is not None and not end.worked and end.in_order:
        barren = mood.barren + 1
        over = barren - MOST_BARREN
        barren_now = replace(mood, failures=0, barren=barren)
        return _paused(barren_now, idle_s * 2.0**over if over >= 0 else 0.0, now)
    return mood


def refused(mood: Mood, why: str, now: float) -> Mood:
    """The mood when the batch system could not be asked, or refused a pilot."""
    return _failed(mood, why, now)


def why_paused(mood: Mood, now: float) -> str:
    """Why nothing is submitted now, on one line; "" when it may be."""
    if mood.until <= now:
        return ""
    again = f"tried again after {mood.pause_s:.0f} s"
    if mood.failures >= MOST_FAILURES:
        return f"paused after {mood.failures} failures in a row, {again}: {mood.why}"
    if mood.failures:
        return f"{mood.why}; {again}"
    return f"the last {mood.barren} pilots were given nothing that they could run; {again}"


def _failed(mood: Mood, why: str, now: float) -> Mood:
    failures = mood.failures + 1
    over = failures - MOST_FAILURES
    pause_s = _PAUSED_S * 2.0**over if over >= 0 else _FIRST_PAUSE_S * 2.0 ** (failures - 1)
    return _paused(replace(mood, failures=failures, why=why), pause_s, now)


def _paused(mood: Mood, pause_s: float, now: float) -> Mood:
    pause_s = min(_LONGEST_PAUSE_S, pause_s)
    if now + pause_s <= mood.until:
        return mood
    return replace(mood, until=now + pause_s, pause_s=pause_s)


def _wanted(bounds: Bounds, seats: Sequence[Seat], demand: int, mood: Mood, now: float) -> int:
    """How many more are to be submitted."""
    if now < mood.until:
        return 0
    live = _count(seats, Phase.AHEAD, Phase.UP, Phase.AWAY)
    # Who has just come is about to take some of what is told to wait.
    fresh = [each for each in seats if each.phase is Phase.UP and now - each.since < FRESH_S]
    ahead = _count(seats, Phase.AHEAD) + len(fresh)
    wanted = max(-(-demand // bounds.slots) - ahead, bounds.least - live)
    if mood.failures or mood.barren >= MOST_BARREN:  # one shows whether it is worth while
        wanted = min(wanted, 1 - ahead)
    room = bounds.most - live - _count(seats, Phase.LEAVING)
    return max(0, min(wanted, room, _MOST_AT_ONCE))


def _drained(bounds: Bounds, seats: Sequence[Seat], now: float) -> Iterable[tuple[int, str]]:
    live = _count(seats, Phase.UP, Phase.AWAY)
    up = [each for each in seats if each.phase is Phase.UP]
    for each in up:
        if now - each.called_at >= bounds.lifetime_s:
            live -= 1
            yield each.number, "its time is over"
    young = [each for each in up if now - each.called_at < bounds.lifetime_s]
    for each in sorted(young, key=lambda seat: seat.idle_since or now):
        idle = each.idle_since is not None and now - each.idle_since >= bounds.idle_s
        if idle and live > bounds.least:
            live -= 1
            yield each.number, f"it had no work for {bounds.idle_s:.0f} s"


def _withdrawn(
    bounds: Bounds, seats: Sequence[Seat], demand: int, now: float
) -> Iterable[tuple[int, str]]:
    live = _count(seats, Phase.AHEAD, Phase.UP, Phase.AWAY)
    for each in seats:
        if each.phase is Phase.AWAY and now - each.since >= bounds.give_up_s:
            live -= 1
            yield each.number, "its pilot did not come back"
    for each in seats:
        old = each.phase is Phase.AHEAD and now - each.since >= bounds.idle_s
        if old and not demand and live > bounds.least:
            live -= 1
            yield each.number, "nobody needs it any more"


def _count(seats: Iterable[Seat], *phases: Phase) -> int:
    return sum(each.phase in phases for each in seats)
