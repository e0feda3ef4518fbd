"""How long to sleep between two looks, and when to stop looking and be woken instead."""

from __future__ import annotations

#: Seconds between looks: just after a submission, and while results flow.
SHORTEST_S, LONGEST_S = 0.0004, 0.01
#: Factor by which the pause grows while nothing comes.
GROWTH = 1.1
#: Results that one round should find: more would make callers wait, fewer cost looks in vain.
AIM = 40
#: Seconds without a result after which a watch takes over.
QUIET_AFTER_S = 0.1
#: Told of so many results within a second, looking is cheaper than being woken.
MANY_RINGS = 50


class Pace:
    """Looks often while results flow or were just asked for; rests while none come."""

    def __init__(self) -> None:
        self._pause = SHORTEST_S
        self._last_found = 0.0
        self._second = 0.0
        self._rings = 0

    def submitted(self, number: int, now: float) -> None:
        """`number` new tasks: a few may be answered at once, of many the first decide."""
        if number <= 2 or self.is_quiet(now):
            self._pause = SHORTEST_S
        self._last_found = now

    def found(self, number: int, now: float) -> None:
        """A round found so many results."""
        if not number:
            self._pause = min(self._pause * GROWTH, LONGEST_S)
            return
        self._last_found = now
        wanted = self._pause * AIM / number
        self._pause = min(max(wanted, self._pause / 2, SHORTEST_S), self._pause * 2, LONGEST_S)

    def rung(self, number: int, now: float) -> bool:
        """The watch told of so many results; True when looking is cheaper than being told."""
        if now - self._second > 1.0:
            self._second, self._rings = now, 0
        self._rings += number
        if self._rings < MANY_RINGS:
            return False
        self._rings = 0
        self._last_found, self._pause = now, LONGEST_S
        return True

    def is_quiet(self, now: float) -> bool:
        return now - self._last_found > QUIET_AFTER_S

    @property
    def pause_s(self) -> float:
        return self._pause
