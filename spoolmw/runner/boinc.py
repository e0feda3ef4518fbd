"""Runs one attempt in the slot of a BOINC client, which is this folder: `ARCHIVE boinc`.

It is `solo` with another master: what the client wants stands in memory that both see (`Line`),
and what comes back is one file, `out.bin` (`onefile`).

Rule 1: whatever can be told is told in `out.bin`, with the exit code 0 and `boinc_finish_called`
as the last act: a failure that the client sees makes it silent for minutes, for all its work.
Rule 2: without `boinc_finish_called` an exit with 0 says "start me again": what was saved in
`checkpoints/` is taken up then. So ends what the client wants to end, and what has lost its client.
Rule 3: one copy at a time: a client that was killed and starts again starts a second one. It makes
the same shared memory, so only its process tells the first copy that it is another client.

As client 7.20 does it: the program is its child, in its process group, at nice 19 and SCHED_IDLE. At
quit it looks every 6 s, and kills after 60 s; a message that is not read for 180 s ends the program
too. Temporary exits and exits with 0 may be 100 without a save between them.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
import time
from typing import Any, Dict, List, Optional

from . import boincslot, onefile, outputs, process, sandbox, solo
from .bell import Bell, Wish
from .sandbox import Errand, Trouble

_LOOK_S = 0.2  #: between two looks at what the client wants
_TELL_S = 1.0  #: between two words of ours
#: Without a sign of life for so long it is dead. Only where it is not our parent: it may be busy.
_SILENT_S = 30.0
_GRACE_S = 20.0  #: to save and end; clients wait 60 s, the next copy LOCK_S
_BUSY_S = 60  #: before the client tries again in a slot where another copy is
#: What a start that was killed leaves beside what counts.
_LEFT = re.compile(r"(work-|\.out-|unpacking\.).*")


class Line(Bell):
    """What the client wants, and what it is told; a thread of its own looks, whatever goes on.

    A client that sees a message unread for 180 s takes a program for dead.
    """

    def __init__(self, slot: str) -> None:
        super().__init__()
        self._channels: Optional[boincslot.Channels] = None
        with contextlib.suppress(OSError, ValueError):  # else nobody is there to be heard
            self._channels = boincslot.Channels(slot)
        about = boincslot.about(slot)
        self._parent = os.getppid()
        self._is_child = about.client_pid == self._parent
        self._before_s = self._spent_s = self._saved_s = about.cpu_s
        self._heard_at = time.monotonic()
        self._told_at = -math.inf
        self._fraction = 0.0
        self._wish = Wish.GO
        self.why = "a signal came"  #: it shall end
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def wish(self) -> Wish:
        base = super().wish
        return self._wish if base is Wish.GO else base

    def news(self, event: str, told: Dict[str, Any]) -> None:
        """Each save counts as the client's "checkpoint": until then it should not be ended."""
        if event == "checkpointed":
            self._saved_s = self._spend()
        elif event == "progress":
            self._fraction = float(told["fraction"])

    def tell(self) -> None:
        """Say how far it is, and how much processor time it took."""
        if self._channels is not None:
            text = (
                f"<current_cpu_time>{self._spend():e}</current_cpu_time>\n"
                f"<checkpoint_cpu_time>{self._saved_s:e}</checkpoint_cpu_time>\n"
                f"<fraction_done>{self._fraction:e}</fraction_done>\n"
            )
            self._channels.put("app_status", text.encode())

    def _spend(self) -> float:
        now_s = self._before_s + process.spent(os.getpid())
        self._spent_s = max(self._spent_s, now_s)
        return self._spent_s

    def _serve(self) -> None:
        while True:
            self._look(time.monotonic())
            time.sleep(_LOOK_S)

    def _look(self, now: float) -> None:
        if self._channels is not None:
            self._obey(self._channels.take("process_control_request"))
            if self._channels.take("heartbeat"):
                self._heard_at = now
        if os.getppid() != self._parent:
            self._want(Wish.END, "its client is dead")
        elif self._channels and not self._is_child and now - self._heard_at > _SILENT_S:
            self._want(Wish.END, f"its client is silent for {_SILENT_S:g} s")
        if self._wish is not Wish.PAUSE and now - self._told_at >= _TELL_S:
            self._told_at = now
            self.tell()

    def _obey(self, message: bytes) -> None:
        if b"<abort/>" in message:
            self._want(Wish.ABORT, "its client does not want it any more")
        elif b"<quit/>" in message:
            self._want(Wish.END, "its client asked")
        elif b"<suspend/>" in message:
            self._want(Wish.PAUSE)
        elif b"<resume/>" in message:
            self._want(Wish.GO)

    def _want(self, wish: Wish, why: str = "") -> None:
        """Want this from now on; what shall end is not paused or let go any more."""
        is_final = self._wish is Wish.ABORT or (
            self._wish is Wish.END and wish is not Wish.ABORT
        )
        if not is_final and self._wish is not wish:
            self._wish, self.why = wish, why
            self.ring()


def _errand(slot: str) -> Errand:
    """What the order says, for this place. Raises Trouble."""
    errand = sandbox.read(slot, boincslot.real(slot, boincslot.ORDER))
    return errand._replace(
        files=[
            each._replace(source=boincslot.real(slot, each.source)) for each in errand.files
        ],
        # Nobody chose what is installed here: an older cloudpickle may not know the call.
        setup={**errand.setup, "brings": True},
        checkpoint_exit=0,  # a save ends nothing: its slot stays
        grace_s=min(errand.grace_s, _GRACE_S),
    )


def _run(slot: str, archive: str, line: Line) -> int:
    """Run the attempt; 0: it ended, or why it could not begin stands in `out/`."""
    try:
        return solo.run(_errand(slot), slot, slot, archive, line)
    except Trouble as error:
        trouble = error
    except Exception as error:  # noqa: BLE001  whatever it is, the server must hear of it
        what = f"the runner met what it does not know: {type(error).__name__}"
        trouble = Trouble(sandbox.BROKEN, what, why=str(error), fix="please report it")
    sandbox.tell(slot, trouble)
    return 0


def _pack(slot: str) -> None:
    """Make one file of `out/`; where there is no room for it, of why not. Raises OSError."""
    target = boincslot.real(slot, boincslot.OUTPUT)
    out = f"{slot}/{sandbox.OUT}"
    try:
        onefile.pack(out, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(target, 0)
        outputs.remove(out)
        sandbox.tell(slot, sandbox.unusable(error))
        onefile.pack(out, target)
    os.chmod(target, 0o664)  # the client may be another user of the same group


def _clear(slot: str) -> None:
    """Remove what an earlier start left that was killed, processes too."""
    for name in os.listdir(slot):
        if _LEFT.fullmatch(name):
            process.kill_leftovers(f"{slot}/{name}")
            sandbox.remove(f"{slot}/{name}")


def _say(text: str) -> None:
    sys.stderr.write(f"spoolmw: {text}\n")
    sys.stderr.flush()


def _serve(slot: str, archive: str) -> int:
    """Do it, with the slot's lock held; returns the exit code. Raises OSError."""
    _clear(slot)
    line = Line(slot)
    code = _run(slot, archive, line)
    if code == sandbox.ABORTED:
        return code
    if code:
        _say(f"it ends, to be started again: {line.why}")
        line.tell()
        return 0
    _pack(slot)
    line.tell()
    boincslot.finish(slot)
    return 0


def main(argv: List[str], archive: str) -> int:
    """There are no arguments."""
    os.umask(0o077)
    process.become_subreaper()
    slot = os.getcwd()
    try:
        lock = boincslot.locked(slot)
        if lock is None:
            _say(f"another copy works in this slot; this one will try again in {_BUSY_S} s")
            boincslot.come_back(slot, _BUSY_S, "another copy works in this slot")
            return 0
        return _serve(slot, os.path.abspath(archive))
    except OSError as error:
        _say(f"the slot cannot be used: {error.filename or slot}: {error.strerror}")
        return sandbox.UNUSABLE
