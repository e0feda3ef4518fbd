"""A batch job that takes many attempts: `ARCHIVE pilot ORDER`. It calls the daemon.

It starts a keeper in the job's scratch folder and joins the keeper's socket to a TLS connection
(`calling`). A connection that breaks is made again, and work goes on meanwhile.

Rule 1: nothing of it outlives the job: keeper, runner and workers end with this process.
Rule 2: who decides is the keeper: it ends when it was told to, when nobody needs it, when its
time is over. Only a daemon that does not want this pilot ends it otherwise.
Rule 3: signal TERM is passed on: what runs may save and end, and what is there is brought home.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, List, NamedTuple

from . import attach, hostfolder, outputs
from .calling import Caller, Order

VERSION = 1
UNUSABLE = 2  #: exit code: the order or the folder
UNREACHABLE = 3
UNWANTED = 4
FAILED = 5  #: the keeper died
_LOOK_S = 0.2
_HAND_OVER_S = 10.0  #: for the last words to reach the daemon
_END_S = 5.0


class Terms(NamedTuple):
    """What the order says besides whom to call; all in seconds."""

    reach_s: float  #: without a daemon and without work it ends after so long
    lifetime_s: float
    grace_s: float


class Pilot:
    """Everything of one pilot; made and run by the main thread."""

    def __init__(self, caller: Caller, terms: Terms, archive: str, folder: str) -> None:
        self._folder = hostfolder.make(folder, in_job=True)
        os.chdir(folder)  # the address of the keeper's socket has at most 107 bytes
        self._caller = caller
        self._archive = archive
        self._is_recalled = False
        signal.signal(signal.SIGTERM, self._recall)
        signal.signal(signal.SIGINT, self._recall)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        told = {
            "parent": os.getpid(),
            "idle_s": terms.reach_s,
            "grace_s": terms.grace_s,
            "rest_s": terms.lifetime_s,
        }
        program = [sys.executable, "-I", "-S", archive, "keeper", self._folder.root]
        with open(self._folder.path(hostfolder.LOG), "ab") as log:
            self._keeper = subprocess.Popen(
                [*program, json.dumps(told)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self) -> int:
        """Serve until the keeper is gone; returns this process's exit code."""
        caller = threading.Thread(target=self._caller.run, args=(self._knock,), daemon=True)
        caller.start()
        was_recalled = False
        try:
            while self._keeper.poll() is None:
                if self._is_recalled and not was_recalled:
                    was_recalled = True
                    self._keeper.terminate()
                if self._caller.unwanted:
                    _say(f"the daemon does not want this pilot: {self._caller.unwanted}")
                    return UNWANTED
                time.sleep(_LOOK_S)
            self._caller.last_call()
            caller.join(_HAND_OVER_S)
        finally:
            self._end()
        if self._caller.unreached:
            order = self._caller.order
            where = f"{order.host}:{order.port}"
            _say(f"no daemon was reached at {where}: {self._caller.unreached}")
            return UNREACHABLE
        if self._keeper.returncode:
            _say(f"the keeper died ({self._keeper.returncode}): {self._last_words()}")
            return FAILED
        return 0

    def _knock(self) -> Any:
        """A connection to the keeper, or None when there is none yet, or none any more."""
        return attach.knock(self._archive)

    def _recall(self, _number: int, _frame: Any) -> None:
        self._is_recalled = True

    def _last_words(self) -> str:
        path = self._folder.path(hostfolder.LOG)
        with contextlib.suppress(OSError), open(path, errors="replace") as log:
            lines = log.read()[-2000:].strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def _end(self) -> None:
        """Leave nothing behind: neither a process nor a file."""
        if self._keeper.poll() is None:
            self._keeper.kill()  # its runner watches it, and ends what is below
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(_END_S)
        os.chdir("/")
        with contextlib.suppress(OSError):
            outputs.remove(self._folder.root)


def scratch() -> str:
    """The job's own folder, as the batch system says."""
    for name in ("_CONDOR_SCRATCH_DIR", "TMPDIR"):
        if os.path.isdir(os.environ.get(name, "")):
            return os.path.abspath(os.environ[name])
    return os.getcwd()


def _say(text: str) -> None:
    sys.stderr.write(f"{' '.join(text.split())}\n")
    sys.stderr.flush()


def main(argv: List[str], archive: str) -> int:
    """Fly with the order in the one argument."""
    os.umask(0o077)
    try:
        with open(argv[0], encoding="utf-8") as file:
            told = json.load(file)
        if told["pilot"] != VERSION:
            raise ValueError(f"an order of version {told['pilot']}")
        terms = Terms(*(float(told[each]) for each in Terms._fields))
        caller = Caller(Order.of(told))
        folder = f"{scratch()}/spoolmw-pilot-{caller.order.name}"
        pilot = Pilot(caller, terms, os.path.abspath(archive), folder)
    except (OSError, LookupError, TypeError, ValueError, hostfolder.Unfit) as error:
        _say(f"this pilot cannot start: {error}")
        return UNUSABLE
    return pilot.run()
