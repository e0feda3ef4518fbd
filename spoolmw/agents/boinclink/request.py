"""What a client asks for: its scheduler request, each field checked; what is odd is left out.

Rule 1: whatever comes, `parse` answers; a request that it cannot read has empty fields.
Rule 2: every result that is reported is found, so that it can be acknowledged: a client repeats
a report for ever until it is, and asks for no work meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that the client says it uploaded; `md5` is "" where it told none."""

    name: str
    nbytes: int = 0
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The end of one result, as its host tells it."""

    name: str
    state: int = 0  #: STATE_OK: ran and was uploaded; all else went wrong
    exit_status: int = 0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    stderr: str = ""  #: its end, cleaned of control characters
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says about itself; 0 and "" where it says nothing."""

    name: str = ""  #: as people know it; "" where the client keeps it to itself
    os: str = ""
    cpu: str = ""
    cores: int = 1
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    flops: float = 0.0  #: operations per second of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One scheduler request."""

    authenticator: str = ""  #: the account's key
    host_id: int = 0  #: 0: the host has none yet
    seqno: int = 0
    version: tuple[int, int, int] = (0, 0, 0)  #: of the client
    platforms: tuple[str, ...] = ()  #: the main one first
    wants_work: bool = False
    seconds: float = 0.0  #: of work wanted, summed over cores
    instances: float = 0.0  #: idle cores
    code_sign_key: str = ""  #: the key that the client has pinned, without white space around
    cpid: str = ""  #: 32 hex digits of the client's data folder
    host: HostFacts = field(default_factory=HostFacts)
    in_progress: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()
    has_trickles: bool = False  #: the client repeats them until they are acknowledged
    is_whole: bool = False  #: from its first tag to its last


def parse(body: bytes) -> Asked:
    """What `body` asks for. Never raises."""
    raise NotImplementedError
