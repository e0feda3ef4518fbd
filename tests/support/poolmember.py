"""One machine of a pool of HTCondor: its processes, which end with the process that made them."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support import poolconfig
from tests.support.condor import environment, give, programs, user
from tests.support.unpacked import IS_ROOT
from tests.support.waiting import wait_until
from tests.support.warden import Told, Warden


class Member:
    """One machine of a pool: a master and its daemons. It can be killed, frozen, started again."""

    def __init__(self, folder: Path, address: str, config: str) -> None:
        """`folder` is its disk and gives it its name; `config` is what it is told."""
        self.name = folder.name
        self.machine = f"{self.name}.test"  #: as it is called in job ads and requirements
        self.folder = folder
        self.address = address
        self.machine_id = uuid.uuid4().hex  #: what its jobs find there, when we are root
        self.hidden: Sequence[Path] = ()  #: these look empty there, when we are root
        self.without: Sequence[Path] = ()  #: and these are no programs there
        self.config = folder / "condor_config"
        self._warden: Warden | None = None
        for each in ("", *poolconfig.FOLDERS):
            give(folder / each)
        (folder / "machine-id").write_text(f"{self.machine_id}\n")
        self.config.write_text(config)

    def start(self) -> Member:
        """Switch it on; it may take a second until the pool knows."""
        assert self._warden is None, f"{self.name} is on"
        self._warden = Warden(self._told())
        return self

    def _told(self) -> Told:
        """What the warden is told."""
        machine_id = (str(self.folder / "machine-id"), "/etc/machine-id")
        who = (f"--reuid={user().uid}", f"--regid={user().gid}", "--clear-groups")
        down = ("setpriv", *who, "--inh-caps=-all", "--bounding-set=-all") if IS_ROOT else ()
        return Told(
            name=self.name,
            binds=[machine_id, *(("/dev/null", str(each)) for each in self.without)],
            hidden=[str(each) for each in self.hidden],
            log=str(self.folder / "master.log"),
            env=environment(self.config),
            argv=[*down, f"{programs()}/sbin/condor_master", "-f"],
        )

    @property
    def is_on(self) -> bool:
        return self._warden is not None

    def processes(self) -> list[int]:
        """All of HTCondor and its jobs that run there, by their ids outside."""
        return [] if self._warden is None else self._warden.processes()

    def pids_of(self, word: str) -> list[int]:
        """Its processes with this word in their command line, or of this name: `condor_starter`."""
        return [] if self._warden is None else self._warden.pids_of(word)

    def signal(self, word: str, number: int = signal.SIGKILL) -> list[int]:
        """Send a signal to its processes with this word in their command line; whom it was sent."""
        return [] if self._warden is None else self._warden.signal(word, number)

    def freeze(self) -> None:
        """Every process of it stops where it is."""
        if self._warden is not None:
            self._warden.freeze()

    def thaw(self) -> None:
        if self._warden is not None:
            self._warden.thaw()

    def kill(self) -> None:
        """Cut its power: all is dead at once and nobody says goodbye; its disk stays."""
        if self._warden is not None:
            self._warden.end()
            self._warden = None

    def stop(self) -> None:
        """Shut it down in order; its jobs are evicted."""
        self.signal("condor_master", signal.SIGTERM)
        wait_until(lambda: not self.processes(), last=self.log_text)
        self.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def log_text(self) -> str:
        """The ends of its daemons' logs."""
        logs = sorted((self.folder / "log").glob("*Log*"))
        return "\n".join(
            f"== {each}\n{each.read_text(errors='replace')[-2000:]}" for each in logs
        )
