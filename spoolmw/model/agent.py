"""What passes between the daemon and its agents."""

from __future__ import annotations

from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.model.record import record
from spoolmw.model.redundancy import Validator
from spoolmw.model.spec import Spec
from spoolmw.model.task import Element
from spoolmw.model.voting import Judged, JudgingFailed


@record(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Room at an agent.

    `queue` is how many plain attempts (one cpu, no memory, no gpu) it likes to hold beyond
    its slots, so that short ones follow each other without a round trip; 0 when attempts are long.
    """

    slots: int
    memory_bytes: int = 0
    gpus: int = 0
    queue: int = 0
    host: str = ""  #: the machine's name, for people
    machine: str = ""  #: its id: two agents may reach the same one; "" while it is not known
    owner: str = ""  #: whose machine it is
    platform: str = ""  #: as "linux-x86_64"
    running: int | None = None  #: attempts that do; None: all that it has slots for
    says: str = ""  #: why it has no more room, for people
    stuck: tuple[tuple[str, str], ...] = ()  #: attempts that wait there for ever, and why
    pythons: tuple[str, ...] = ()  #: versions that calls can have there ("3.11"); empty: any
    trusted: bool = (
        True  #: whether pickles from there may be decoded, and one host's word counts
    )


@record(frozen=True, slots=True)
class Candidate:
    """One replica's result that is to be compared; `staged` is its name in `stage/`."""

    replica: int
    staged: AttemptId
    trusted: bool  #: a pickle from its host may be decoded


@record(frozen=True, slots=True, kw_only=True)
class Judging:
    """What a validation compares, how, and what it may use."""

    candidates: tuple[Candidate, ...]
    validator: Validator
    step_s: float = 60.0  #: for one comparison, or for reading one result
    total_s: float = 600.0


@record(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt to start. `path` is the task's file, relative to the spool."""

    attempt: AttemptId
    token: str
    path: str
    spec: Spec
    memory_bytes: int = 0  #: limit of this attempt (may be more than `spec` asked for); 0: none
    since: int = 0  #: checkpoints of attempts below this number do not count
    element: Element | None = None  #: which part of an array; `path` is then the array's
    avoid: tuple[str, ...] = ()  #: hosts of the task's other replicas, where an engine chooses
    platform: str = ""  #: the only one that it may run on, as "linux-x86_64"; empty: any
    distinct: str = (
        ""  #: what it may not share with the task's other replicas: "host" or another
    )
    taken: tuple[str, ...] = ()  #: voters that they have (rules.independence)
    judging: Judging | None = None  #: compare these results instead of running the task


@record(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What an agent knows of one attempt when asked."""

    attempt: AttemptId
    running: bool  #: False: it waits at the agent
    host: str = ""
    slot: str = ""
    pid: int = 0
    started_at: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0


@record(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """A host that comes to an agent by itself, as it was when it was last heard of."""

    host: str
    machine: str
    account: str  #: by which it came
    owner: str
    platform: str  #: as "linux-x86_64"
    cores: int
    memory_bytes: int
    seen_at: float  #: wall clock
    has: int  #: attempts that are there
    rests_until: float  #: wall clock; it is given nothing before, for what it did; 0: it may
    trusted: bool  #: pickles from it are decoded


@record(frozen=True, slots=True, kw_only=True)
class Validated:
    """A validation ended; `answer` says what it came to."""

    at: float
    attempt: AttemptId
    answer: Judged | JudgingFailed


@record(frozen=True, slots=True, kw_only=True)
class CapacityChanged:
    """An agent has other room than before; `capacity.slots == 0` means it can take nothing."""

    agent: AgentName
    capacity: Capacity
    reason: str = ""  #: why there is no room, one line
