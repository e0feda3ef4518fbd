"""A machine of its own on this one: a first process that ends all of it with whoever made it.

For root it has namespaces of its own for processes, mounts and its name; there it has another
machine-id, some folders look empty, some files are missing, and all but some may be read-only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.daemon import family
from tests.support.unpacked import IS_ROOT, PATH

#: For root, the words before a machine's first process; the kernel ends all of it with us.
_SPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--fork"),
    *("--kill-child", "--mount-proc"),
)

#: The first process. It starts the program, buries what dies below it, and kills all of it when who
#: made it is gone. Whoever loses its parent comes to it (PR_SET_CHILD_SUBREAPER).
_FIRST = """\
import ctypes, json, os, signal, socket, subprocess, sys, threading, time
told = json.loads(sys.stdin.readline())
if told["is_root"]:
    for folder in told["writable"]:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
    for source, target in told["binds"]:
        subprocess.run(["mount", "--bind", source, target], check=True)
    for folder in told["hidden"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", folder], check=True)
    if told["writable"]:
        subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True)
    socket.sethostname(told["name"])
ctypes.CDLL(None).prctl(36, 1)
def start():
    with open(told["log"], "ab") as log:
        subprocess.Popen(
            told["argv"], env=told["env"], cwd=told["cwd"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
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
start()
threading.Thread(target=bury, daemon=True).start()
print("up", flush=True)
for line in sys.stdin:
    start()
while True:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in list(family(os.getpid())):
            try:
                os.kill(pid, number)
            except OSError:
                pass
    time.sleep(0.01)
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the first process of a machine is told. All but the last three is for root only."""

    name: str  #: of the machine
    binds: Sequence[tuple[str, str]] = ()  #: sources that lie over targets
    hidden: Sequence[str] = ()  #: folders that look empty
    writable: Sequence[
        str
    ] = ()  #: where there are some, all else is read-only; the log is in one
    argv: Sequence[str]
    env: Mapping[str, str]
    log: str
    cwd: str = "/"
    is_root: bool = field(default=IS_ROOT)


class Warden:
    """What runs on such a machine, seen from outside."""

    def __init__(self, told: Told) -> None:
        self._first = subprocess.Popen(
            [*(_SPACES if IS_ROOT else ()), sys.executable, "-I", "-S", "-c", _FIRST],
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare complains about the signals that it resets
            text=True,
            start_new_session=True,
        )
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.write(f"{json.dumps(asdict(told))}\n")
        self._first.stdin.flush()
        assert self._first.stdout.readline() == "up\n", f"{told.name} did not start"

    def start_again(self) -> None:
        """Start the program once more, beside what it left running."""
        assert self._first.stdin is not None
        self._first.stdin.write("again\n")
        self._first.stdin.flush()

    def processes(self) -> list[int]:
        """All that run there but the first, by their ids outside."""
        found = family(self._first.pid)
        return found[1:] if IS_ROOT else found  # the first is below unshare there

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

    def end(self) -> None:
        """All is dead at once and nobody says goodbye."""
        self.freeze()
        for stream in (self._first.stdin, self._first.stdout):
            if stream is not None:
                stream.close()
        self._first.wait()
