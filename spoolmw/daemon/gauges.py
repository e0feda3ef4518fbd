"""What an operator reads off: counts of one tick, deliveries a second."""

from __future__ import annotations

from dataclasses import dataclass

from spoolmw.daemon.logs import fields, log


@dataclass(slots=True, kw_only=True)
class Counts:
    """What one tick did."""

    accepted: int = 0
    assigned: int = 0
    ended: int = 0
    delivered: int = 0

    def tell(self, still_open: int) -> None:
        """The tick's line in the log, when it did anything to speak of."""
        if self.accepted or self.ended or self.delivered:
            log.info(
                "tick %s",
                fields(
                    accepted=self.accepted,
                    assigned=self.assigned,
                    ended=self.ended,
                    delivered=self.delivered,
                    open=still_open,
                ),
            )


class Rate:
    """Deliveries a second, over the last one or two windows of `WINDOW_S`."""

    WINDOW_S = 5.0

    def __init__(self, now: float) -> None:
        self._old = (now, 0)
        self._new = self._old

    def note(self, now: float, total: int) -> None:
        """Remember a total; the older mark moves on when the newer is a window old."""
        if now - self._new[0] >= self.WINDOW_S:
            self._old, self._new = self._new, (now, total)

    def per_s(self, now: float, total: int) -> float:
        """The rate until now."""
        self.note(now, total)
        return round((total - self._old[1]) / max(now - self._old[0], 0.1), 1)
