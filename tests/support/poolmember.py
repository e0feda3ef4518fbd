"""One machine of a pool of HTCondor: its processes, which end with the process that made them.

For root it has namespaces of its own for processes, mounts and its name; there it has another
machine-id, and some folders look empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support import poolconfig
from tests.support.condor import IS_ROOT, PATH, environment, give, programs, user
from tests.support.daemon import family
from tests.support.waiting import wait_until

#: For root, the words before a member's first process; the kernel ends all of it with us.
_SPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--fork"),
    *("--kill-child", "--mount-proc"),
)

#: The first process of a member. It starts HTCondor's master, buries what dies below it, and kills
#: all of it when who made it is gone. Whoever loses its parent comes to it (PR_SET_CHILD_SUBREAPER).
_WARDEN = """\
import ctypes, json, os, signal, socket, subprocess, sys, threading, time
told = json.loads(sys.stdin.readline())
if told["is_root"]:
    for source, target in told["binds"]:
        subprocess.run(["mount", "--bind", source, target], check=True)
    for folder in told["hidden"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", folder], check=True)
    socket.sethostname(told["name"])
ctypes.CDLL(None).prctl(36, 1)
with open(told["log"], "ab") as log:
    subprocess.Popen(
        told["argv"], env=told["env"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )
def bury():
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)
def family(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    yield child
                    yield from family(child)
    except OSError:
        pass
threading.Thread(target=bury, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
while True:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in list(family(os.getpid())):
            try:
                os.kill(pid, number)
            except OSError:
                pass
    time.sleep(0.01)
"""


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
        self._warden: subprocess.Popen[str] | None = None
        for each in ("", *poolconfig.FOLDERS):
            give(folder / each)
        (folder / "machine-id").write_text(f"{self.machine_id}\n")
        self.config.write_text(config)

    def start(self) -> Member:
        """Switch it on; it may take a second until the pool knows."""
        assert self._warden is None, f"{self.name} is on"
        self._warden = subprocess.Popen(
            [*(_SPACES if IS_ROOT else ()), sys.executable, "-I", "-S", "-c", _WARDEN],
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare complains about the signals that it resets
            text=True,
            start_new_session=True,
        )
        assert self._warden.stdin is not None
        assert self._warden.stdout is not None
        self._warden.stdin.write(f"{json.dumps(self._told())}\n")
        self._warden.stdin.flush()
        assert self._warden.stdout.readline() == "up\n", f"{self.name} did not start"
        return self

    def _told(self) -> dict[str, object]:
        """What the warden is told."""
        machine_id = (str(self.folder / "machine-id"), "/etc/machine-id")
        who = (f"--reuid={user().uid}", f"--regid={user().gid}", "--clear-groups")
        down = ("setpriv", *who, "--inh-caps=-all", "--bounding-set=-all") if IS_ROOT else ()
        return {
            "is_root": IS_ROOT,
            "name": self.name,
            "binds": [machine_id, *(("/dev/null", str(each)) for each in self.without)],
            "hidden": [str(each) for each in self.hidden],
            "log": str(self.folder / "master.log"),
            "env": environment(self.config),
            "argv": [*down, f"{programs()}/sbin/condor_master", "-f"],
        }

    @property
    def is_on(self) -> bool:
        return self._warden is not None

    def processes(self) -> list[int]:
        """All of HTCondor and its jobs that run there, by their ids outside."""
        if self._warden is None:
            return []
        found = family(self._warden.pid)
        return found[1:] if IS_ROOT else found  # the warden is below unshare there

    def pids_of(self, word: str) -> list[int]:
        """Its processes with this word in their command line, or of this name: `condor_starter`."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if word in words or word == Path(words[0]).name:
                    found.append(pid)
        return found

    def signal(self, word: str, number: int = signal.SIGKILL) -> list[int]:
        """Send a signal to its processes with this word in their command line; whom it was sent."""
        pids = self.pids_of(word)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def freeze(self) -> None:
        """Every process of it stops where it is."""
        stopped: set[int] = set()
        while more := set(self.processes()) - stopped:
            for pid in more:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= more

    def thaw(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Cut its power: all is dead at once and nobody says goodbye; its disk stays."""
        if self._warden is None:
            return
        self.freeze()
        for stream in (self._warden.stdin, self._warden.stdout):
            if stream is not None:
                stream.close()
        self._warden.wait()
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
