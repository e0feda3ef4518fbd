"""A daemon and its hosts behind real sshds, and tasks that tell where they run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from spoolmw import Spool
from spoolmw.client.future import SpoolTask
from tests.support.daemon import ROOT, Daemon, end
from tests.support.lab import Host, Lab
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


class Grid:
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
        self.spool: Spool

    def __enter__(self) -> Grid:
        self.lab.__enter__()
        try:
            self.prepare()
            self.daemon.start()
            self.spool = Spool(self.daemon.spool)
            self.wait_for_hosts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            end(self.daemon)
        finally:
            self.lab.close()

    def prepare(self) -> None:
        """The hosts run, the daemon does not yet."""

    def agents(self) -> dict[str, dict[str, object]]:
        return {str(each["name"]): each for each in self.daemon.ctl_json("agents")}

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

    def hold(self, number: int = 0, **options: object) -> Held:
        """A task that runs until it is let go."""
        return Held(self, number, options)


class Held:
    """A task that runs until it is let go, and what can be seen of it."""

    def __init__(self, grid: Grid, number: int, options: dict[str, object]) -> None:
        self._grid = grid
        self._flag = grid.shared / f"flag{number}"
        self._note = grid.shared / f"note{number}"
        spool = grid.spool.options(**options)  # type: ignore[arg-type]
        self.task: SpoolTask = spool.submit(hold, str(self._flag), str(self._note))

    def starts(self) -> list[str]:
        """The hosts on which it was begun, in order."""
        return self._note.read_text().split() if self._note.exists() else []

    def host(self) -> Host:
        """Where it was begun last; waits for it."""
        wait_until(self.starts, last=self._grid.daemon.log_text)
        name = self.starts()[-1]
        return next(each for each in self._grid.lab.hosts if each.name == name)

    def let_go(self) -> None:
        self._flag.touch()

    def attempts(self) -> list[dict[str, object]]:
        """How its attempts ended, once it is delivered."""
        wait_until(self.task.done)
        [record] = self._grid.daemon.ctl_json("show", self.task.id)
        return list(record["attempts"])  # type: ignore[call-overload]


def hold(flag: str, note: str) -> str:
    with open(note, "a") as file:
        file.write(f"{os.uname().nodename}\n")
    until = time.monotonic() + 120
    while time.monotonic() < until and not Path(flag).exists():
        time.sleep(0.01)
    return os.uname().nodename


def where(number: int) -> tuple[int, str]:
    time.sleep(0.05)
    return number * number, os.uname().nodename
