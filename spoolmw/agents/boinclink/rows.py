"""A host that called, and a result that it was sent, as the front end holds them in memory.

There may be many thousands of each, so they are slim.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Where a sent result stands.
SENT, REPORTED, FAILED = 1, 2, 3


@dataclass(slots=True, eq=False)
class Host:
    """One client's data folder, as its server knows it. Most of it is what the host says of itself."""

    id: int
    account: str  #: its name
    cpid: str  #: of the data folder; copies of it have the same
    created: float  #: wall clock, as all times here
    seqno: int = 0  #: the highest of its calls
    seen: float = 0.0  #: its last call
    name: str = ""  #: allow-listed
    platform: str = ""  #: ours, as "linux-x86_64"
    client_platform: str = ""  #: as its client calls it
    os: str = ""
    cores: int = 1
    memory_bytes: int = 0
    disk_bytes: int = 0  #: that are free
    flops: float = 0.0  #: per second, of one core
    quota: int = 0  #: jobs that it may have at one time; 0: as many as any
    failures: int = 0  #: in a row
    rests_until: float = 0.0  #: gets nothing before
    needs_bundle: bool = False  #: it has no Python that fits
    lacks: tuple[str, ...] = ()  #: versions of Python that it was asked for in vain
    learned: float = 0.0  #: when we heard that last; people install things
    done: int = 0  #: jobs that ended well, ever
    failed: int = 0

    @property
    def label(self) -> str:
        """Its name for people, which no other host of the section has."""
        return f"{self.name or 'host'}-{self.id}"


@dataclass(slots=True, eq=False)
class Row:
    """One result that was sent to a host, until the daemon releases its attempt."""

    attempt: str
    host: int
    sent: float
    deadline: float
    most_bytes: int  #: of its output file
    token: str  #: the attempt's, as the daemon gave it
    state: int = SENT
    is_unwanted: bool = False  #: nobody waits for it any more, but its host may have it still
    report: str = ""  #: JSON: what its host said of its end
    files: tuple[str, ...] = ()  #: names of those that clients may ask for
    resends: int = 0  #: since this process began
