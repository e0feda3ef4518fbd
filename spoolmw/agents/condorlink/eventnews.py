"""What the events of HTCondor's logs say of a job, as facts. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

STARTED, ENDED, HELD, REMOVED = "started", "ended", "held", "removed"
IDLE = "idle"  #: it waits (again) for a machine
USED = "used"
SAVED = "saved"  #: it may have handed over what it saved

_OUTPUT_CAME = 6  #: of a transfer of files: its output is here


JobId = tuple[int, int]  #: cluster and process


class News(NamedTuple):
    """One fact about one job."""

    job: JobId
    what: str
    host: str = ""
    slot: str = ""
    code: int = 0  #: of a hold; exit code of an end, -1 where a signal ended it
    subcode: int = 0
    text: str = ""
    memory_bytes: int = 0


Told = Mapping[str, Any]


def news_of(number: int, job: JobId, told: Told) -> News | None:
    """What an event tells that counts; None for the others."""
    read = _READERS.get(number)
    return None if read is None else read(job, told)


def _started(job: JobId, told: Told) -> News:
    host, slot = place(str(told.get("SlotName", "")), str(told.get("ExecuteHost", "")))
    return News(job, STARTED, host=host, slot=slot)


def _ended(job: JobId, told: Told) -> News:
    normal = bool(told.get("TerminatedNormally", False))
    return News(job, ENDED, code=_whole(told, "ReturnValue") if normal else -1)


def _removed(job: JobId, told: Told) -> News:
    return News(job, REMOVED, text=str(told.get("Reason", "")))


def _held(job: JobId, told: Told) -> News:
    code, subcode = _whole(told, "HoldReasonCode"), _whole(told, "HoldReasonSubCode")
    return News(job, HELD, code=code, subcode=subcode, text=str(told.get("HoldReason", "")))


def _idle(job: JobId, told: Told) -> News:
    return News(job, IDLE, text=str(told.get("Reason", "")))


def _saved(job: JobId, told: Told) -> News | None:
    return News(job, SAVED) if _whole(told, "Type") == _OUTPUT_CAME else None


def _used(job: JobId, told: Told) -> News:
    return News(job, USED, memory_bytes=_whole(told, "ResidentSetSize") * 1024)


def place(slot_name: str, address: str = "") -> tuple[str, str]:
    """Host and slot of `slot1_2@host1.test`; without a name what the address says.

    Of a slot's name the part behind the last @ is the machine, before it may stand the startd's.
    """
    slot, _, host = slot_name.rpartition("@")
    if host:
        return host, slot
    _, _, alias = address.partition("alias=")
    return alias.partition("&")[0].strip(">") or address.strip("<>").partition("?")[0], ""


def _whole(told: Mapping[str, Any], key: str) -> int:
    raw = told.get(key, 0)
    return int(raw) if isinstance(raw, int | float) else 0


#: By the numbers of the user log's events, as HTCondor's manual lists them.
_READERS: Mapping[int, Callable[[JobId, Told], News | None]] = {
    1: _started,  # ULOG_EXECUTE
    4: _idle,  # ULOG_JOB_EVICTED
    5: _ended,  # ULOG_JOB_TERMINATED
    6: _used,  # ULOG_IMAGE_SIZE
    9: _removed,  # ULOG_JOB_ABORTED
    12: _held,  # ULOG_JOB_HELD
    13: _idle,  # ULOG_JOB_RELEASED
    40: _saved,  # ULOG_FILE_TRANSFER
}
