"""When to scan `incoming/`: at once after a ring, often while files flow, else once in `scan_s`.

The watch costs its events, and half a millisecond to be switched; so it is on while nothing
or little happens. While files flow, short polls replace it; before a rest it is switched on
again and one more scan closes the gap.
"""

from __future__ import annotations

from spoolmw.spooldir.watch import Doorbell

POLL_S = 0.0005  #: between two scans while files flow
REST_AFTER_S = 0.03  #: without a new file for this long, the watch takes over
FLOWING = 8  #: so many files within FLOWING_S flow
FLOWING_S = 0.05


class Wakeup:
    """The schedule of scans. Used by the reactor's thread alone."""

    def __init__(self, doorbell: Doorbell, scan_s: float) -> None:
        self._doorbell = doorbell
        self._armed = False
        self._last_found = 0.0
        self._flow_from = 0.0
        self._flow = 0  #: files found since then
        self.scan_s = scan_s
        self.next_scan = 0.0
        self.quiet = False  #: the last scan found nothing

    def ring(self) -> None:
        """The watch saw something."""
        self.next_scan = 0.0

    def scan_due(self, now: float) -> bool:
        return now >= self.next_scan

    def scanned(self, now: float, *, found: int, more: float | None) -> None:
        """A scan ended: `found` files were taken; one that settles is to be looked at at `more`."""
        self.quiet = False
        if found:
            self._last_found = now
            if self._armed and self._flows(now, found):
                self._doorbell.disarm()
                self._armed = False
            self.next_scan = now
        elif not self._armed and now - self._last_found < REST_AFTER_S:
            self.next_scan = now + POLL_S
        elif not self._armed:
            self._doorbell.arm()
            self._armed = True
            self.next_scan = now
        else:
            self.quiet = True
            self.next_scan = min(now + self.scan_s, more if more is not None else now + 3600.0)

    def _flows(self, now: float, found: int) -> bool:
        """Looking costs less now than being told of each file."""
        if now - self._flow_from > FLOWING_S:
            self._flow_from, self._flow = now, 0
        self._flow += found
        return self._flow >= FLOWING

    def close(self) -> None:
        self._doorbell.close()
