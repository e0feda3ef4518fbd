"""How long to sleep between two looks, and when to stop looking and be woken instead."""

from __future__ import annotations

#: Seconds between looks: just after a submission, and while results flow.
SHORTEST_S, LONGEST_S = 0.0004, 0.02
#: Factor by which the pause grows while nothing comes.
GROWTH = 1.1
#: Results that one round should find: more would make callers wait, fewer cost looks in vain.
AIM = 100
#: Seconds without a result after which a watch takes over.
QUIET_AFTER_S = 0.1
#: The same while many tasks or results come at once: arming a watch just for a gap is dear.
QUIET_AFTER_MANY_S = 1.0
#: So many at once are many: told of them within RINGS_S, looking is cheaper than being woken.
MANY = 8
RINGS_S = 0.05


class Pace:
    """Looks often while results flow or were just asked for; rests while none come."""

    def __init__(self) -> None:
        self._pause = SHORTEST_S
        self._last_found = 0.0
        self._last_many = -QUIET_AFTER_MANY_S
        self._first_ring = 0.0
        self._rings = 0

    def submitted(self, number: int, now: float) -> None:
        """`number` new tasks: a few may be answered at once, of many the first decide."""
        if number <= 2 or self.is_quiet(now):
            self._pause = SHORTEST_S
        self._came(number, now)

    def found(self, number: int, now: float) -> None:
        """A round found so many results."""
        if not number:
            self._pause = min(self._pause * GROWTH, LONGEST_S)
            return
        self._came(number, now)
        wanted = self._pause * AIM / number
        self._pause = min(max(wanted, self._pause / 2, SHORTEST_S), self._pause * 2, LONGEST_S)

    def rung(self, number: int, now: float) -> bool:
        """The watch told of so many results; True when looking is cheaper than being told."""
        if now - self._first_ring > RINGS_S:
            self._first_ring, self._rings = now, 0
        self._rings += number
        if self._rings < MANY:
            return False
        self._came(self._rings, now)
        self._rings, self._pause = 0, LONGEST_S
        return True

    def is_quiet(self, now: float) -> bool:
        return (
            now - self._last_found > QUIET_AFTER_S
            and now - self._last_many > QUIET_AFTER_MANY_S
        )

    def _came(self, number: int, now: float) -> None:
        self._last_found = now
        if number >= MANY:
            self._last_many = now

    @property
    def pause_s(self) -> float:
        return self._pause
