"""A daemon and its hosts behind real sshds, and tasks that tell where they run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.daemon import ROOT, Daemon, end
from tests.support.lab import Host, Lab
from tests.support.scene import Held, Scene
from tests.support.waiting import wait_until

CONFIG = """\
[intake]
settle_s = 0.1
[agents.lab]
kind = "ssh"
hosts = ["pc[01-{count:02}]"]
slots = {slots}
python = ["{python}"]
ssh_config = "{ssh_config}"
give_up = "{give_up}"
{more}"""

#: Has the link process wait less. The real times are tested in tests/unit/agents, and that a
#: silent host is noticed in time in test_ssh.py.
HASTE = """\
import sys
if "spoolmw.agents.sshlink" in sys.orig_argv:
    from spoolmw.agents.carrier import session
    from spoolmw.agents.sshlink import hostlink
    hostlink.FIRST_PAUSE_S, hostlink.PAUSED_S = 0.05, {paused_s}
    session.PING_S, session.SILENCE_S = 0.5, 2.5
"""


def in_haste(home: Path, *, paused_s: float = 1.0) -> dict[str, str]:
    """The environment of a daemon that tries a host again soon, and soon takes it for dead."""
    (home / "haste").mkdir()
    (home / "haste" / "sitecustomize.py").write_text(HASTE.format(paused_s=paused_s))
    return {"PYTHONPATH": f"{home / 'haste'}{os.pathsep}{ROOT}"}


class Grid(Scene):
    """A daemon and its hosts; `shared` is the one folder that all of them see."""

    def __init__(
        self,
        home: Path,
        *,
        count: int = 2,
        slots: int = 2,
        give_up: str = "60s",
        more: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`more` follows in the configuration; `env` is the daemon's."""
        home.mkdir(exist_ok=True)
        self.shared = home / "shared"
        self.shared.mkdir()
        self.lab = Lab(home / "lab", count, hidden=[home / "spool"])
        (home / "spool").mkdir()
        self.daemon = Daemon(
            home,
            config=CONFIG.format(
                python=sys.executable,
                ssh_config=self.lab.ssh_config,
                give_up=give_up,
                count=count,
                slots=slots,
                more=more,
            ),
            env=env,
        )

    def open(self) -> None:
        self.lab.__enter__()
        self.prepare()
        super().open()
        self.wait_for_hosts()

    def close(self) -> None:
        try:
            end(self.daemon)
        finally:
            self.lab.close()

    def prepare(self) -> None:
        """The hosts run, the daemon does not yet."""

    def wait_for_hosts(self, count: int = 0) -> None:
        """So many hosts are connected, else all."""
        awaited = count or len(self.lab.hosts)

        def connected() -> int:
            rows = self.agents().values()
            return sum(bool(each["slots"]) for each in rows if each["kind"] == "ssh")

        wait_until(
            lambda: connected() == awaited,
            last=lambda: f"{self.agents()}\n{self.daemon.log_text()[-2000:]}",
        )

    def hold(self, number: int = 0, **options: object) -> HeldOnHost:
        """A task that runs until it is let go."""
        return HeldOnHost(self, number, options)


class HeldOnHost(Held):
    """One on a host of the lab."""

    def __init__(self, grid: Grid, number: int, options: dict[str, object]) -> None:
        super().__init__(grid, number, options)
        self._hosts = grid.lab.hosts

    def host(self) -> Host:
        """Where it was begun last; waits for it."""
        name = self.until_it_runs()
        return next(each for each in self._hosts if each.name == name)


def where(number: int) -> tuple[int, str]:
    time.sleep(0.05)
    return number * number, os.uname().nodename
