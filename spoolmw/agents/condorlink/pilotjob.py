"""How a pilot becomes a job, and what is read off its ad. No I/O.

Rule: a job starts once. Its order is used up then; what HTCondor would start again is over.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spoolmw.agents.condorlink import describe, holds
from spoolmw.agents.condorlink.describe import Group, Manner, quoted
from spoolmw.agents.condorlink.reconcile import Status
from spoolmw.agents.pilotlink.engine import HELD, RUNS, WAITS, Job, Pilot, Post

SEAT, PILOT = "SpoolmwSeat", "SpoolmwPilot"  #: attributes by which a pilot is found again
WANTED = (
    *("ClusterId", "ProcId", "JobStatus", "NumJobStarts"),
    *("HoldReasonCode", "HoldReasonSubCode", "HoldReason", SEAT, PILOT),
)
_MB = 1 << 20
_LAST_WORDS_S = 15.0  #: beyond the grace: reports go home, the keeper and its workers end
#: Events that tell how a job ended, with the words and the attribute; those that say most first.
_ENDS = {
    12: ("its job was held", "HoldReason"),
    24: ("its host was lost", "Reason"),
    9: ("its job was removed", "Reason"),
    7: ("its shadow failed", "Message"),
    5: ("it ended with exit code", "ReturnValue"),
    4: ("it was evicted", ""),
}
BY_US = "spoolmw:"  #: begins a reason of ours; it says nothing
_MOST_SAID = 400
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the section says to this engine alone; JSON can carry it."""

    spool_id: str
    schedd: str = ""
    collector: str = ""
    is_remote: bool = False
    lease_s: float = 300.0
    disk_bytes: int = 1_000_000_000
    platform: str = "linux-x86_64"
    submit: Sequence[Sequence[str]] = ()
    wants_bundle: bool = False


class Files(NamedTuple):
    """What travels with every pilot."""

    launcher: str  #: absolute
    archive: str  #: of the runner, absolute
    bundle: str = ""  #: the Python that is brought; empty: none
    size_bytes: int = 0  #: of these together

    def arguments(self, pythons: Iterable[str]) -> str:
        """Of the launcher; the order is in the item."""
        bundle = Path(self.bundle).name or "-"
        words = ["pilot", "$(order)", Path(self.archive).name, bundle, *pythons]
        return '"' + " ".join(words) + '"'


class Ours(NamedTuple):
    """A job in the queue."""

    id: tuple[int, int]
    status: Status
    starts: int
    job: Job | None  #: None: no pilot's, or one that is not to run any more
    is_spooling: bool = False  #: its files are on their way to the schedd


def group(pilots: Sequence[Pilot], post: Post, terms: Terms, files: Files) -> Group:
    """One cluster for these."""
    lines = {
        "universe": "vanilla",
        "batch_name": "spoolmw-pilot",
        "notification": "never",
        **{key: line for key, line in terms.submit if key.lower() != "requirements"},
        "executable": files.launcher,
        "transfer_executable": "true",
        "arguments": files.arguments(post.pythons),
        "initialdir": str(post.folder),
        "error": said("$(digest)"),
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": "$(files)",
        "transfer_output_files": '""',
        "job_lease_duration": str(math.ceil(terms.lease_s)),
        "kill_sig": "SIGTERM",
        "job_max_vacate_time": str(math.ceil(post.grace_s + _LAST_WORDS_S)),
        "request_cpus": str(post.slots),
        "request_memory": str(max(1, -(-post.memory_bytes // _MB))),
        "request_disk": str((terms.disk_bytes + files.size_bytes) // 1024 + 1),
        "requirements": " && ".join(_requirements(terms)),
        f"+{describe.SPOOL}": quoted(terms.spool_id),
        f"+{SEAT}": "$(seat)",
        f"+{PILOT}": '"$(digest)"',
    }
    if post.gpus:
        lines["request_gpus"] = str(post.gpus)
    if terms.is_remote:  # else its last words are gone before they could be fetched
        lines["leave_in_queue"] = "JobStatus == 4"
    else:
        lines["log"] = log("$(digest)")
    items = [_item(each, post.folder, files) for each in pilots]
    return Group(lines, items, [each.digest for each in pilots])


def said(digest: str) -> str:
    """The file with a pilot's standard error."""
    return f"said-{digest}.txt"


def log(digest: str) -> str:
    """The file in which HTCondor tells what becomes of its job."""
    return f"said-{digest}.log"


def read(ad: Mapping[str, Any]) -> Ours:
    """What a job ad of this spool and section says."""
    seat, digest = ad.get(SEAT), ad.get(PILOT)
    number = int(ad["ClusterId"]), int(ad["ProcId"])
    status, starts = Status(int(ad["JobStatus"])), int(ad.get("NumJobStarts") or 0)
    code = int(ad.get("HoldReasonCode") or 0)
    is_pilot = type(seat) is int and isinstance(digest, str) and _DIGEST.fullmatch(digest)
    is_over = status is Status.COMPLETED or (status is Status.IDLE and starts > 0)
    job = None
    if is_pilot and not is_over:
        state, why = _state(status, ad)
        name = f"{number[0]}.{number[1]}"
        job = Job(name, int(ad[SEAT]), str(digest), state, why or f"job {name}")
    spooling = status is Status.HELD and code == holds.SPOOLING
    return Ours(number, status, starts, job, spooling)


def ended(events: Iterable[tuple[int, Mapping[str, Any]]]) -> str:
    """How a job ended by these events of its log, on one line; "" unknown."""
    found = dict(events)
    for kind, (words, name) in _ENDS.items():
        if kind not in found:
            continue
        text = " ".join(str(found[kind].get(name) or "").split())[:_MOST_SAID] if name else ""
        if name and (not text or text.startswith(BY_US)):
            continue
        return f"{words}: {text}" if text else words
    return ""


def _state(status: Status, ad: Mapping[str, Any]) -> tuple[str, str]:
    if status is Status.IDLE:
        return WAITS, ""
    if status is not Status.HELD:
        return RUNS, ""
    code, subcode = (int(ad.get(f"HoldReason{each}") or 0) for each in ("Code", "SubCode"))
    held = holds.meaning(code, subcode, str(ad.get("HoldReason") or ""))
    return HELD, held.message.removeprefix("the pool held its job: ")


def _requirements(terms: Terms) -> list[str]:
    manner = Manner(
        spool_id=terms.spool_id,
        launcher="",
        log="",
        platform=terms.platform,
        submit=tuple((key, line) for key, line in terms.submit),
    )
    return ["((MY.NumJobStarts ?: 0) == 0)", *describe.requirements({}, manner)]


def _item(pilot: Pilot, folder: os.PathLike[str], files: Files) -> dict[str, str]:
    """Relative names: the spool's path may have a comma or a space in it."""
    travels = [str(pilot.order), files.archive, *([files.bundle] if files.bundle else [])]
    return {
        "seat": str(pilot.seat),
        "digest": pilot.digest,
        "order": pilot.order.name,
        "files": ", ".join(os.path.relpath(each, folder) for each in travels),
    }
