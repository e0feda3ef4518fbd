"""What the runner knows of one attempt: what it needs, where it stands, what was decided on it."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import wire
from .order import DEFAULT_OUTPUT_BYTES, Element, attempt_of, split


class Kind:
    """What a group of attempts needs. Those of one launch that need the same share it."""

    path = ""  #: the interpreter that was chosen; empty: none was looked for yet

    def __init__(self, told: Dict[str, Any]) -> None:
        self.interpreter: str = told.get("interpreter", "")
        self.python: str = told.get("python", "")
        self.cpus: int = told.get("cpus", 1)
        self.gpus: int = told.get("gpus", 0)
        self.memory: int = told.get("memory", 0)
        self.time_s: float = told.get("time", 0.0)
        self.output: int = told.get("output", DEFAULT_OUTPUT_BYTES)
        self.command: bool = told.get("command", False)
        self.checkpoint: Optional[Dict[str, Any]] = told.get("checkpoint")
        #: It compares results: no core is counted for it, and nobody waits before it.
        self.judges = "judge" in told
        if self.judges:
            self.cpus = 0
        #: Whether such an attempt has a worker for itself: nothing waits behind it.
        self.alone = self.judges or self.cpus > 1 or self.gpus > 0 or self.memory > 0
        self.extra: Dict[str, Any] = {}
        if self.memory:
            self.extra["memory"] = self.memory
        if self.output != DEFAULT_OUTPUT_BYTES:
            self.extra["output"] = self.output
        if self.cpus > 1:
            self.extra["cpus"] = self.cpus
        for key in ("since", "checkpoint", "judge"):
            if key in told:
                self.extra[key] = told[key]


class Verdict(NamedTuple):
    """Why the runner ends an attempt before it ends by itself."""

    cause: str  #: "timeout", "memory", "output", "stop" or "shutdown"
    message: str
    kill_at: float  #: monotonic clock: TERM was sent, KILL follows


class Attempt:
    """One attempt in the runner's hands."""

    devices: Tuple[str, ...] = ()
    verdict: Optional[Verdict] = None
    dropped = False  #: it was stopped while it waited
    warned = False  #: it got TERM
    announced = 0.0  #: monotonic clock; 0: its start was not told yet
    looked_at = 0.0
    measured_at = 0.0
    base_cpu_s = 0.0
    peak_bytes = 0

    def __init__(self, packet: str, kind: Kind) -> None:
        self.id = attempt_of(packet)
        self.packet = packet
        self.kind = kind
        #: It saves its progress; a call is known to when it first does.
        self.saves = kind.command and kind.checkpoint is not None

    @property
    def token(self) -> str:
        return self.packet.split("\n", 2)[1]

    @property
    def path(self) -> str:
        return split(self.packet.split("\n", 2)[2])[0]

    @property
    def element(self) -> Optional[Element]:
        return split(self.packet.split("\n", 2)[2])[1]

    def encoded(self) -> bytes:
        """The packet as a worker gets it."""
        extra = self.kind.extra
        if self.devices:
            extra = {**extra, "devices": self.devices}
        if not extra:
            return self.packet.encode()
        return self.packet.encode() + b"\n" + wire.encode(extra)


def of_launch(work: List[Any]) -> List[Attempt]:
    """The attempts of a launch frame: a list of [kind, [packet, ...]]."""
    found: List[Attempt] = []
    for told, packets in work:
        kind = Kind(told)
        found += [Attempt(packet, kind) for packet in packets]
    return found
