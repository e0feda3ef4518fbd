"""Whether a job that waits could ever have a slot of the pool, as the collector knows it.

HTCondor says nothing of a job that fits no machine: it waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from spoolmw.agents.condorlink import describe
from spoolmw.agents.condorlink.jobs import Job
from spoolmw.agents.condorlink.post import Post
from spoolmw.agents.condorlink.schedd import ScheddTrouble

_MOST_DEMANDS = 8  #: that are asked about at one time
_MOST_TOLD = 100  #: attempts
SLOTS = "DynamicSlot =!= true"  #: all slots of a pool: a part of another one is none of its own
_GB = 1_000_000_000

Count = Callable[[str], int]
"""How many slots meet a constraint. Raises ScheddTrouble."""


def constraint(kind: Mapping[str, Any], manner: describe.Manner) -> str:
    """What a slot must be like, all of it being free. The submit lines of a user are left out."""
    alike = describe.requirements(kind, replace(manner, submit=()))
    parts = [
        SLOTS,
        *(part.replace("(TARGET.", "(", 1) for part in alike),  # a collector has no TARGET
        f"TotalSlotCpus >= {int(kind.get('cpus', 1))}",
        f"TotalSlotMemory >= {describe.memory_mb(kind, manner)}",
    ]
    if kind.get("gpus"):
        parts.append(f"TotalSlotGPUs >= {int(kind['gpus'])}")
    return " && ".join(parts)


def words(kind: Mapping[str, Any], manner: describe.Manner) -> str:
    """The same for people."""
    asked = [
        _counted(int(kind.get("cpus", 1)), "core"),
        f"{describe.memory_mb(kind, manner) * (1 << 20) / _GB:.3g} GB of memory",
        *([_counted(int(kind["gpus"]), "GPU")] if kind.get("gpus") else []),
        str(kind.get("platform", "")) or manner.platform,
    ]
    avoided = f" and is none of {', '.join(kind['avoid'])}" if kind.get("avoid") else ""
    return f"{', '.join(asked)}{avoided}"


def misfits(waiting: Iterable[Job], manner: describe.Manner, count: Count) -> dict[str, str]:
    """The attempts that no slot can have, each with why. Raises ScheddTrouble."""
    found: dict[str, str] = {}
    known: dict[str, str] = {}
    for job in waiting:
        kind = job.given.kind
        wanted = constraint(kind, manner)
        if wanted not in known:
            if len(known) >= _MOST_DEMANDS:
                continue
            known[wanted] = "" if count(wanted) else _why(count(SLOTS), words(kind, manner))
        if known[wanted] and len(found) < _MOST_TOLD:
            found[job.attempt] = known[wanted]
    return found


class Fitting:
    """Tells the daemon which attempts wait for ever, when that changes."""

    def __init__(self, manner: describe.Manner, count: Count) -> None:
        self._manner = manner
        self._count = count
        self._told: dict[str, str] = {}

    def look(self, jobs: Iterable[Job], post: Post) -> None:
        """At those that wait in the queue; without a word of the pool's slots none is said."""
        waiting = (j for j in jobs if j.id and not (j.is_running or j.is_told or j.is_stopping))
        try:
            found = misfits(waiting, self._manner, self._count)
        except ScheddTrouble:
            return
        if found != self._told:
            self._told = found
            post.tell({"event": "misfits", "attempts": found})


def _why(slots: int, wanted: str) -> str:
    if not slots:
        return "the pool has no slots at present"
    return f"it waits for ever: no slot of the pool, of {slots}, has {wanted}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
