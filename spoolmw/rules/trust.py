"""What a host's past is worth: whether it may run a replica alone, and whether it may work at all.

Adaptive replication is BOINC's (sched/sched_send.cpp, `set_trust`): below ten consecutive valid
results a host is not trusted, from then on with the probability 1 - 1/n. Only results that were
compared count, so trust must be earned from others; one invalid result, or one error, takes all
of it away. Chance comes in as arguments, uniform in [0, 1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from spoolmw.model.host import HostRecord, Mark

TRUSTED_FROM: Final = 10  #: consecutive valid results (BOINC: CONS_VALID_UNREPLICATED)
WINDOW: Final = 20  #: newest marks that the error budget looks at
BUDGET: Final = 5  #: faults among them that are borne; one more pauses the host
FIRST_PAUSE_S: Final = 3600.0  #: until a paused host may show by a probe what it can do
LONGEST_PAUSE_S: Final = 86400.0  #: each pause in a row is twice as long, up to this

_FAULTS: Final = frozenset({Mark.INVALID, Mark.ERROR, Mark.SILENT})
_WORDS: Final = {Mark.INVALID: "invalid", Mark.ERROR: "an error", Mark.SILENT: "silent"}


def alone_probability(record: HostRecord, audit: float) -> float:
    """How likely the host's next replica needs no second one; `audit` is the share run again."""
    n = record.consecutive_valid
    if n < TRUSTED_FROM or record.paused:
        return 0.0
    return (1.0 - 1.0 / n) * (1.0 - audit)


def runs_alone(record: HostRecord, audit: float, luck: float) -> bool:
    """Whether the result of a replica that is placed there now will be accepted alone."""
    return luck < alone_probability(record, audit)


def may_work(record: HostRecord, now: float) -> bool:
    """Whether replicas may be placed there at `now` (wall clock): not paused, or due for a probe."""
    if not record.paused:
        return True
    return not record.paused_by_hand and now >= record.probe_at


def is_probe(record: HostRecord) -> bool:
    """Whether what runs there now is a probe: one replica at a time, and never alone."""
    return bool(record.paused) and not record.paused_by_hand


def marked(record: HostRecord, mark: Mark, now: float) -> HostRecord:
    """The record with one mark more, given at `now` (wall clock); it may pause or release the host."""
    if mark is Mark.ALONE:  # nobody compared it, so it proves nothing
        return replace(record, alone=record.alone + 1, last_seen=now)
    fault = mark in _FAULTS
    after = replace(
        record,
        valid=record.valid + (mark is Mark.VALID),
        invalid=record.invalid + (mark is Mark.INVALID),
        errors=record.errors + (mark in (Mark.ERROR, Mark.SILENT)),
        consecutive_valid=0 if fault else record.consecutive_valid + 1,
        last_seen=record.last_seen if mark is Mark.SILENT else now,
        recent=(record.recent << 1 | fault) & ((1 << WINDOW) - 1),
        recent_count=min(record.recent_count + 1, WINDOW),
    )
    if after.consecutive_valid >= TRUSTED_FROM:
        after = replace(after, pauses=0)
    if record.paused:
        return _after_probe(after, mark, now)
    faults = after.recent.bit_count()
    if fault and faults > BUDGET:
        return _paused(
            after,
            f"{faults} of its last {after.recent_count} results were faults,"
            f" the last one {_WORDS[mark]}",
            now,
        )
    return after


def _after_probe(record: HostRecord, mark: Mark, now: float) -> HostRecord:
    """A probe that succeeds releases; what ends after a pause by hand changes nothing of it."""
    if record.paused_by_hand or now < record.probe_at:
        return record  # it was under way before the pause
    if mark is Mark.VALID:
        # The past is past: it has its whole budget again, but no trust yet.
        return replace(record, paused="", probe_at=0.0, recent=0, recent_count=0)
    return _paused(record, f"its probe was {_WORDS[mark]} too", now)


def _paused(record: HostRecord, why: str, now: float) -> HostRecord:
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(record.pauses, 30), LONGEST_PAUSE_S)
    return replace(record, paused=why, pauses=record.pauses + 1, probe_at=now + pause_s)


def paused_by_hand(record: HostRecord, why: str) -> HostRecord:
    """The record of a host that somebody paused: only a hand releases it."""
    return replace(record, paused=why, paused_by_hand=True, probe_at=0.0)


def released(record: HostRecord) -> HostRecord:
    """The record of a host that somebody released: its faults are forgotten, trust starts anew."""
    return replace(
        record,
        paused="",
        paused_by_hand=False,
        probe_at=0.0,
        pauses=0,
        recent=0,
        recent_count=0,
        consecutive_valid=0,
    )
