"""The keys of sections whose hosts are batch jobs that call the daemon (`agents.pilot`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spoolmw.format.keyed import Reader
from spoolmw.format.values import duration, matching, whole

_ADDRESS = r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilots:
    """How many there may be, for how long, and where they call."""

    listen: str = ""  #: "ADDRESS:PORT"; empty: no port is open, and there are no pilots
    advertise: str = ""  #: "HOST[:PORT]" as the jobs see it; empty: as it listens
    least: int = 0  #: live, also when nothing waits
    most: int = 10  #: at one time, those included that wait in the batch system
    idle_s: float = 300.0  #: without work for so long a pilot ends
    lifetime_s: float = 86400.0  #: then it takes nothing more, finishes and ends
    vacate_grace_s: float = 30.0  #: between the batch system's signal TERM and its KILL


#: What the record calls a key, where that is another word.
PILOT_FIELD_NAMES = {
    "min": "least",
    "max": "most",
    "idle": "idle_s",
    "lifetime": "lifetime_s",
    "vacate_grace": "vacate_grace_s",
}

PILOTS: Mapping[str, Reader] = {
    "listen": matching(rf"{_ADDRESS}:\d{{1,5}}", 'an address and a port, as "0.0.0.0:9750"'),
    "advertise": matching(rf"{_ADDRESS}(:\d{{1,5}})?", 'a host, or "host:port"'),
    "min": whole(0, 1000),
    "max": whole(1, 1000),
    "idle": duration(least=1, most=86400),
    "lifetime": duration(least=10, most=31_622_400),
    "vacate_grace": duration(least=0, most=86400),
}

#: Keys of a pool that are for jobs of one attempt each, and what to say instead of them for pilots.
JOBS_ONLY = {
    "shared_files": "files of a pilot's attempts travel over its connection",
    "event_log": "each pilot has a log of its own",
    "max_jobs": "say max",
    "max_idle": "say max",
    "max_gpus": "attempts in pilots have no devices yet",
    "checkpoint_every": "what a pilot's attempts save comes home at once",
    "silent": "a pilot that says nothing is given up, see give_up",
    "poll": "the queue is asked while there are pilots",
}

__all__ = ["JOBS_ONLY", "PILOTS", "PILOT_FIELD_NAMES", "Pilots"]
