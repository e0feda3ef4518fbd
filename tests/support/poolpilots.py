"""A daemon whose pilots are jobs of a pool of HTCondor. All is an ordinary user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.condorsite import Site
from tests.support.pool import Pool
from tests.support.waiting import wait_until

T = TypeVar("T")

PILOTS = """\
mode = "pilot"
listen = "127.0.0.1:0"
slots = {slots}
max = {most}
vacate_grace = "6s"
{more}"""


class PilotSite(Site):
    """While it is open this process is the pool's user."""

    def __init__(
        self,
        pool: Pool,
        *,
        name: str,
        most: int = 3,
        slots: int = 2,
        more: str = "",
        lines: str = "",
        others: str = "",
        is_remote: bool = False,
    ) -> None:
        more = PILOTS.format(slots=slots, most=most, more=more)
        super().__init__(
            pool, name=name, more=more, lines=lines, others=others, is_remote=is_remote
        )

    def wait_for_pool(self) -> None:
        """The port is open."""
        wait_until((self.folder / "port").exists, last=self.daemon.log_text)

    @property
    def folder(self) -> Path:
        """Where the link keeps its own."""
        return self.daemon.spool / "agents" / "pool" / "pilots"

    def why(self, seat: int) -> str:
        """The reason why a seat is empty."""
        return str(self.agents()[f"pool:{seat}"]["reason"])

    def up(self) -> list[str]:
        """The seats whose pilots can take something."""
        return [name for name, each in self.agents().items() if each["slots"]]

    def jobs(self) -> list[str]:
        """The pilots in the queue, those that are being removed too."""
        rows = self.queue("ClusterId", "ProcId", "SpoolmwPilot")
        return [f"{cluster}.{proc}" for cluster, proc, digest in rows if digest != "undefined"]

    def hosts(self) -> dict[str, str]:
        """The hosts on which pilots run, by job."""
        rows = self.queue("ClusterId", "ProcId", "RemoteHost")
        there = [(f"{c}.{p}", at) for c, p, at in rows if at != "undefined"]
        return {job: at.partition("@")[2].partition(".")[0] for job, at in there}

    def wait_until(self, condition: Callable[[], T], timeout_s: float = 60.0) -> T:
        """Wait; when it is in vain, tell how the seats stand."""
        return wait_until(condition, timeout_s=timeout_s, last=self.told)

    def told(self) -> str:
        queue = self.run("condor_q", "-allusers", "-af", "JobStatus", "HoldReason", check=False)
        return f"{self.agents()}\n{queue}\n{self.daemon.log_text()[-2000:]}"
