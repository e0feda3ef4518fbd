"""What the daemon tells the link of a section: each seat's brief says it, the first one counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolmw.agents.pilotlink.scaling import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section's pilots; JSON can carry it."""

    root: str  #: of the spool
    name: str
    engine: str
    listen: str  #: "ADDRESS:PORT"
    advertise: str = ""  #: "HOST[:PORT]" as the pilots see it; empty: as it listens
    least: int = 0
    most: int = 1
    slots: int = 1
    memory_bytes: int = 0
    gpus: int = 0
    idle_s: float = 300.0
    lifetime_s: float = 86400.0
    grace_s: float = 30.0
    give_up_s: float = 120.0
    pythons: tuple[str, ...] = ()
    options: dict[str, Any] | None = None  #: of the engine alone

    @property
    def folder(self) -> Path:
        """Where the link keeps what only it may read."""
        return Path(self.root) / "agents" / self.name / "pilots"

    @property
    def bounds(self) -> Bounds:
        return Bounds(
            least=self.least,
            most=self.most,
            slots=self.slots,
            idle_s=self.idle_s,
            lifetime_s=self.lifetime_s,
            give_up_s=self.give_up_s,
        )


def address_of(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT"; an IPv6 address stands in brackets. Port 0: none is said."""
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "0")
    if not host and port:
        return port, 0
    return host.strip("[]"), int(port)
