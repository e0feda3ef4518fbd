"""What is known of a host from what it returned: the ground for trusting it, or for not."""

from __future__ import annotations

from enum import Enum

from spoolmw.model.record import record


class Mark(Enum):
    """What one replica's end says of the host where it ran."""

    VALID = "valid"  #: others returned the same
    INVALID = "invalid"  #: others agreed on something else
    ERROR = "error"  #: nothing came of it that could be compared, where others succeeded
    SILENT = "silent"  #: it missed a deadline that another one met
    ALONE = "alone"  #: accepted without a comparison: says nothing

    __hash__ = object.__hash__


@record(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """One host's past. `machine` is its id, which stays when its name changes."""

    machine: str
    name: str = ""
    valid: int = 0
    invalid: int = 0
    errors: int = 0  #: failed where others succeeded, or silent beyond a deadline
    alone: int = 0  #: results accepted without a comparison
    consecutive_valid: int = 0
    last_seen: float = 0.0  #: wall clock of the last mark
    recent: int = 0  #: the newest marks as bits, 1 for a fault, the newest lowest
    recent_count: int = 0  #: how many of these bits are marks
    paused: str = ""  #: why nothing is given to it; "" means that it may work
    paused_by_hand: bool = False  #: then only a hand releases it
    probe_at: float = 0.0  #: wall clock; a paused host may show from then on what it can do
    pauses: int = 0  #: in a row; each lasts twice as long
