"""The records of hosts: what each is known for, folded from the verdicts on what it returned.

Rule: a mark goes into the commit that ordered it, so that it counts once, also when the daemon
is killed. What was changed and is not committed yet is in `changed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spoolmw.daemon.logs import fields, log
from spoolmw.model.effects import Score
from spoolmw.model.host import HostRecord
from spoolmw.rules import trust


class Hosts:
    """Every host that ever had a verdict, by its machine's id."""

    def __init__(self, records: Iterable[HostRecord] = ()) -> None:
        self.records = {each.machine: each for each in records}
        self._changed: dict[str, None] = {}

    def score(self, score: Score, wall: float) -> None:
        """Add a mark to the record of the host where a replica ran; `wall`: the wall clock."""
        spot = score.spot
        if not spot.machine:
            return  # nobody knows whose record it would be
        before = self.records.get(spot.machine) or HostRecord(machine=spot.machine)
        after = trust.marked(before, score.mark, wall)
        if spot.host and spot.host != after.name:
            after = replace(after, name=spot.host)
        self.put(after)
        _tell(before, after)

    def put(self, record: HostRecord) -> None:
        """Take a record as it is now; the next commit keeps it."""
        self.records[record.machine] = record
        self._changed[record.machine] = None

    def named(self, name: str) -> list[HostRecord]:
        """The hosts of this name, or the one with this machine's id."""
        return [each for each in self.records.values() if name in (each.name, each.machine)]

    def changed(self) -> list[HostRecord]:
        """The records that the journal does not have as they are."""
        return [self.records[machine] for machine in self._changed]

    def is_changed(self) -> bool:
        """There is something to commit."""
        return bool(self._changed)

    def committed(self) -> None:
        """What was changed is in the journal."""
        self._changed.clear()


def _tell(before: HostRecord, after: HostRecord) -> None:
    """A line where a host paused itself, or showed that it may work again."""
    who = after.name or after.machine
    if after.paused and (not before.paused or after.pauses > before.pauses):
        log.warning(
            "host paused %s", fields(host=who, why=after.paused, probe_at=after.probe_at)
        )
    elif before.paused and not after.paused:
        log.info("host released %s", fields(host=who, why="its probe was valid"))
