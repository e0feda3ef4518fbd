"""How many pilots there are: what follows from demand, seats and what the last ones came to."""

from __future__ import annotations

import random
from dataclasses import replace

from spoolmw.agents.pilotlink.scaling import (
    MOST_BARREN,
    MOST_FAILURES,
    Bounds,
    End,
    Mood,
    Phase,
    Plan,
    Seat,
    after,
    plan,
    why_paused,
)

BOUNDS = Bounds(least=0, most=4, slots=2, idle_s=60.0, lifetime_s=3600.0, give_up_s=120.0)
NOW = 10_000.0


def seats(**phases: Phase) -> list[Seat]:
    """Four seats; `s2=Phase.UP` and the like, all others are empty."""
    return [
        Seat(
            number=number,
            phase=phases.get(f"s{number}", Phase.EMPTY),
            since=NOW - 10.0,
            called_at=NOW - 10.0,
        )
        for number in range(1, 5)
    ]


def up(number: int, *, idle_s: float | None = None, age_s: float = 0.0) -> Seat:
    idle_since = None if idle_s is None else NOW - idle_s
    return Seat(
        number=number,
        phase=Phase.UP,
        since=NOW - 10,
        idle_since=idle_since,
        called_at=NOW - age_s,
    )


def test_nothing_waits_nothing_is_begun() -> None:
    assert plan(BOUNDS, seats(), 0, Mood(), NOW) == Plan()


def test_as_many_pilots_as_the_waiting_tasks_fill() -> None:
    assert plan(BOUNDS, seats(), 1, Mood(), NOW).submit == (1,)
    assert plan(BOUNDS, seats(), 3, Mood(), NOW).submit == (1, 2)
    assert plan(BOUNDS, seats(), 1000, Mood(), NOW).submit == (1, 2, 3, 4)


def test_those_on_the_way_are_counted() -> None:
    assert plan(BOUNDS, seats(s1=Phase.AHEAD), 3, Mood(), NOW).submit == (2,)
    assert plan(BOUNDS, seats(s1=Phase.AHEAD, s2=Phase.AHEAD), 3, Mood(), NOW).submit == ()


def test_who_has_just_come_is_about_to_take_some_of_it() -> None:
    fresh = Seat(number=1, phase=Phase.UP, since=NOW - 1.0, called_at=NOW - 1.0)
    settled = Seat(number=1, phase=Phase.UP, since=NOW - 2.0, called_at=NOW - 2.0)
    free = Seat(number=2, phase=Phase.EMPTY)
    assert plan(BOUNDS, [fresh, free], 2, Mood(), NOW).submit == ()
    assert plan(BOUNDS, [fresh, free], 3, Mood(), NOW).submit == (2,)
    assert plan(BOUNDS, [settled, free], 2, Mood(), NOW).submit == (2,)


def test_what_leaves_keeps_its_place_until_it_is_gone() -> None:
    has = seats(s1=Phase.LEAVING, s2=Phase.UP, s3=Phase.UP)
    assert plan(BOUNDS, has, 1000, Mood(), NOW).submit == (4,)


def test_the_least_are_kept_without_demand() -> None:
    bounds = Bounds(least=2, most=4, idle_s=60.0)
    assert plan(bounds, seats(), 0, Mood(), NOW).submit == (1, 2)
    has = [up(1, idle_s=100), up(2, idle_s=300), up(3, idle_s=200)]
    assert plan(bounds, has, 0, Mood(), NOW).drain == ((2, "it had no work for 60 s"),)


def test_who_has_no_work_for_long_is_drained_and_no_other() -> None:
    has = [up(1), up(2, idle_s=59.0), up(3, idle_s=60.0)]
    assert plan(BOUNDS, has, 0, Mood(), NOW).drain == ((3, "it had no work for 60 s"),)


def test_whose_time_is_over_is_drained_though_it_works() -> None:
    has = [up(1, age_s=3600.0), up(2, age_s=3599.0)]
    assert plan(BOUNDS, has, 0, Mood(), NOW) == Plan(drain=((1, "its time is over"),))


def test_who_is_drained_for_its_age_is_replaced_where_the_least_are_kept() -> None:
    bounds = Bounds(least=1, most=2, lifetime_s=3600.0)
    has = [up(1, age_s=3600.0), Seat(number=2, phase=Phase.EMPTY)]
    assert plan(bounds, has, 0, Mood(), NOW).submit == (2,)


def test_what_waits_in_the_queue_and_is_not_needed_is_withdrawn() -> None:
    old = Seat(number=1, phase=Phase.AHEAD, since=NOW - 60.0)
    young = Seat(number=2, phase=Phase.AHEAD, since=NOW - 59.0)
    assert plan(BOUNDS, [old, young], 0, Mood(), NOW).withdraw == (
        (1, "nobody needs it any more"),
    )
    assert plan(BOUNDS, [old, young], 1, Mood(), NOW).withdraw == ()


def test_who_does_not_come_back_is_given_up() -> None:
    away = Seat(number=1, phase=Phase.AWAY, since=NOW - 120.0)
    assert plan(BOUNDS, [away], 0, Mood(), NOW).withdraw == (
        (1, "its pilot did not come back"),
    )


def test_failures_in_a_row_pause_the_section_and_one_is_tried_again() -> None:
    mood, now = Mood(), NOW
    for number in range(1, MOST_FAILURES + 1):
        mood = after(mood, End(why="no Python"), BOUNDS.idle_s, now)
        assert mood.failures == number
        assert plan(BOUNDS, seats(), 100, mood, now).submit == ()
        now = mood.until
        assert plan(BOUNDS, seats(), 100, mood, now).submit == (1,)
    assert why_paused(mood, NOW).startswith("paused after 3 failures in a row")
    assert "no Python" in why_paused(mood, NOW)
    assert why_paused(mood, now) == ""
    assert plan(BOUNDS, seats(s1=Phase.AHEAD), 100, mood, now).submit == ()


def test_pauses_double_and_are_bounded() -> None:
    mood, now, pauses = Mood(), NOW, []
    for _ in range(12):
        mood = after(mood, End(lived_s=1.0), BOUNDS.idle_s, now)
        pauses.append(mood.until - now)
        now = mood.until
    assert pauses[:5] == [1.0, 2.0, 60.0, 120.0, 240.0]
    assert pauses[-1] == 900.0


def test_a_pilot_that_worked_is_no_failure_however_soon_it_ended() -> None:
    assert after(Mood(), End(lived_s=2.0, worked=True), 60.0, NOW) == Mood()


def test_pilots_that_get_nothing_come_less_and_less_often() -> None:
    mood, now = Mood(), NOW
    barren = End(lived_s=60.0, in_order=True)
    for _ in range(MOST_BARREN - 1):
        mood = after(mood, barren, 60.0, now)
        assert plan(BOUNDS, seats(), 8, mood, now).submit == (1, 2, 3, 4)
    mood = after(mood, barren, 60.0, now)
    assert mood.until == now + 60.0
    assert "were given nothing" in why_paused(mood, now)
    assert plan(BOUNDS, seats(), 8, mood, mood.until).submit == (1,)


def test_over_simulated_days_the_bounds_are_kept_and_all_work_is_done() -> None:
    """A pool where pilots start late, die now and then, and tasks come in bursts."""
    for seed in range(20):
        world = World(random.Random(seed))
        for step in range(4000):
            world.step(has_bursts=step < 2000)
        assert world.done == world.came
        assert world.live() <= 2


class World:
    """Four seats, and tasks of five seconds each."""

    bounds = Bounds(least=1, most=4, slots=2, idle_s=60.0, lifetime_s=3600.0, give_up_s=120.0)

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.seats = {each.number: each for each in seats()}
        self.now = NOW
        self.mood = Mood()
        self.waiting = self.came = self.done = 0

    def live(self) -> int:
        return sum(each.phase is not Phase.EMPTY for each in self.seats.values())

    def step(self, *, has_bursts: bool) -> None:
        self.now += 5.0
        if has_bursts and self.rng.random() < 0.02:
            burst = self.rng.randrange(50)
            self.waiting, self.came = self.waiting + burst, self.came + burst
        self._obey(plan(self.bounds, [*self.seats.values()], self.waiting, self.mood, self.now))
        assert self.live() <= self.bounds.most
        for each in list(self.seats.values()):
            self._live_on(each)

    def _obey(self, told: Plan) -> None:
        for number in told.submit:
            assert self.seats[number].phase is Phase.EMPTY
            self._put(number, Phase.AHEAD)
        for number, _ in (*told.drain, *told.withdraw):
            self._put(number, Phase.LEAVING)

    def _live_on(self, seat: Seat) -> None:
        if seat.phase is Phase.LEAVING:
            self._put(seat.number, Phase.EMPTY)
        elif seat.phase is Phase.AHEAD and self.rng.random() < 0.3:
            self._put(seat.number, Phase.UP)
            self.mood = Mood()
        elif seat.phase is Phase.UP and self.rng.random() < 0.002:
            end = End(lived_s=self.now - seat.called_at, worked=True)
            self.mood = after(self.mood, end, self.bounds.idle_s, self.now)
            self._put(seat.number, Phase.EMPTY)
        elif seat.phase is Phase.UP:
            worked = min(self.waiting, self.bounds.slots)
            self.waiting, self.done = self.waiting - worked, self.done + worked
            idle = None if worked else seat.idle_since or self.now
            self.seats[seat.number] = replace(seat, idle_since=idle)

    def _put(self, number: int, phase: Phase) -> None:
        self.seats[number] = Seat(
            number=number,
            phase=phase,
            since=self.now,
            called_at=self.now,
            idle_since=self.now if phase is Phase.UP else None,
        )
