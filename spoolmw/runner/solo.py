"""Runs exactly one attempt inside a batch job: `ARCHIVE one [FOLDER [SCRATCH]]`.

What came with the job lies in FOLDER (`sandbox`), what it brings back goes to `out/` in it
(`parcel`). The runner does the work, as everywhere; here is the loop that stands in for an agent.

Rule 1: exit code 0 means that there is a report; how the attempt ended is in the report.
Rule 2: with the order's `checkpoint_exit` it ends so that it can be started again: right after a
save once `checkpoint_every_s` have passed, or when TERM came and something was saved since.
Rule 3: when TERM ends an attempt that saved nothing there is no report: it is lost, not failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import (
    charge,
    checkpoint,
    host,
    outputs,
    parcel,
    process,
    results,
    sandbox,
    tidy,
    wire,
)
from .bell import Bell, Wish
from .sandbox import Errand, Trouble

_AFTER_GRACE_S = 5.0  #: for the runner to end what it has killed
_KEPT_NEWS = ("resumed", "progress")  #: the last of each goes into the report


class End(NamedTuple):
    """How it went: an exit code, and a report where there is one."""

    code: int
    report: Optional[Dict[str, Any]] = None


class Solo:
    """One attempt and its runner, from start to end."""

    def __init__(self, errand: Errand, root: str, archive: str, bell: Bell) -> None:
        self._errand = errand
        self._bell = bell
        self._root = root
        task, replica = errand.replica
        self._owner = checkpoint.Owner(f"{root}/{sandbox.CHECKPOINTS}", task, replica)
        self._began = time.time()
        self._hand_over_at = time.monotonic() + errand.checkpoint_every_s
        self._end_at: Optional[float] = None  #: monotonic clock: TERM came, so long it may take
        self._has_saved = False  #: there is a checkpoint that the batch system has not
        self._end: Optional[End] = None
        self._latest: Dict[str, Any] = {}
        self._manner = ""  #: how the runner ended
        setup = sandbox.setup_of(errand, os.environ)
        self._runner = charge.Charge(archive, root, setup)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._runner.stream, selectors.EVENT_READ, self._hear)
        self._selector.register(self._runner.pidfd, selectors.EVENT_READ, self._bury)
        self._selector.register(bell, selectors.EVENT_READ, self._heed)
        self._tell({"do": "launch", "work": errand.work})
        if bell.wish is not Wish.GO:  # it rang before anybody listened
            self._heed()

    @property
    def news(self) -> List[Dict[str, Any]]:
        """The last that the attempt said of itself, as events."""
        return [{"event": key, "attempts": [told]} for key, told in self._latest.items()]

    def run(self) -> End:
        """Wait for the end; nothing of the attempt is alive then."""
        try:
            while self._end is None:
                self._turn()
            return self._end
        finally:
            self._end_runner()
            process.end_children()

    def _end_runner(self) -> str:
        """See to it that it and all below it is dead, once; returns how it ended."""
        if not self._manner:
            for each in list(self._selector.get_map().values()):
                self._selector.unregister(each.fileobj)
            self._manner = self._runner.end()
        return self._manner

    def _turn(self) -> None:
        waits = self._end_at is not None or self._runner.stream.unsent
        for key, _ in self._selector.select(0.1 if waits else None):
            act: Callable[[], None] = key.data
            act()
            if self._end is not None:
                return
        with contextlib.suppress(wire.Closed):  # its pidfd tells too
            self._runner.stream.flush()
        if self._end_at is not None and time.monotonic() > self._end_at:
            self._end = self._given_up()

    def _tell(self, tree: Dict[str, Any]) -> None:
        with contextlib.suppress(wire.Closed):
            self._runner.stream.send(wire.json_frame(tree))

    # -- the batch system

    def _heed(self) -> None:
        """What it wants now has changed."""
        self._bell.hush()
        wish = self._bell.wish
        if wish is Wish.ABORT:
            self._end = End(sandbox.ABORTED)
        elif wish is Wish.END:
            self._begin_end()
        else:
            self._tell({"do": "still", "on": wish is Wish.PAUSE})

    def _begin_end(self) -> None:
        """What saves its progress has the time for it."""
        if self._end_at is None:
            grace_s = self._errand.grace_s
            self._end_at = time.monotonic() + grace_s + _AFTER_GRACE_S
            self._tell({"do": "close", "grace_s": grace_s, "at_once": True})

    def _given_up(self) -> End:
        """The job ends without a report: the attempt goes on from what was saved, or is lost."""
        code = self._errand.checkpoint_exit
        return End(code if code and self._has_saved else sandbox.TERMINATED)

    # -- the runner

    def _hear(self) -> None:
        try:
            frames = self._runner.stream.receive()
        except (wire.Closed, wire.WireError):
            self._bury()
            return
        for _, payload in frames:
            self._understand(json.loads(payload))
        if self._end is None and self._is_due():
            self._end = self._given_up()

    def _is_due(self) -> bool:
        """Whether it is time to hand over what was just saved."""
        return (
            bool(self._errand.checkpoint_exit)
            and self._has_saved
            and time.monotonic() >= self._hand_over_at
        )

    def _understand(self, told: Dict[str, Any]) -> None:
        event = told["event"]
        for each in told.get("attempts", ()):
            if event == "ended":
                self._end = self._ended(each)
            elif event == "checkpointed":
                self._has_saved = True
                tidy.prune(self._owner, "")
            elif event in _KEPT_NEWS:
                self._latest[event] = each
            self._bell.news(event, each)

    def _ended(self, report: Dict[str, Any]) -> End:
        by_us = report["outcome"] == "lost" and self._bell.wants_end
        return self._given_up() if by_us else End(0, report)

    def _bury(self) -> None:
        """The runner ended, and the attempt with it; what it said last is still worth hearing."""
        with contextlib.suppress(wire.Closed, wire.WireError):
            while self._end is None:
                frames = self._runner.stream.receive()
                if not frames:
                    break
                for _, payload in frames:
                    self._understand(json.loads(payload))
        manner = self._end_runner()
        if self._end is not None:
            return
        if (
            self._bell.wants_end or manner == "SIGTERM"
        ):  # some systems signal all processes of a job
            self._end = self._given_up()
            return
        ran = self._errand.attempt in charge.at_hand(self._root)
        ended = results.lost("connection", f"the runner died ({manner})", counts=ran)
        self._end = End(0, loss(self._errand, ended, self._began))


def loss(errand: Errand, ended: results.Ended, began: float) -> Dict[str, Any]:
    """The report of an attempt that could not tell its end itself."""
    return results.report(errand.attempt, errand.token, ended, (began, time.time()))


def run(errand: Errand, folder: str, scratch: str, archive: str, bell: Bell) -> int:
    """Run the attempt of the folder's order; returns the exit code. Raises Trouble."""
    if parcel.is_there(folder, errand.attempt, errand.token):
        return 0
    try:
        parcel.make_way(folder)
    except OSError as error:
        raise sandbox.unusable(error) from error
    root = sandbox.lay_out(errand, folder, scratch)
    try:
        return _run(errand, folder, root, archive, bell)
    finally:
        sandbox.remove(root)


def _run(errand: Errand, folder: str, root: str, archive: str, bell: Bell) -> int:
    news: List[Dict[str, Any]] = []
    why = sandbox.lacking(errand, os.environ)
    if bell.wants_end:
        end = End(sandbox.TERMINATED)
    elif why:
        end = End(0, loss(errand, results.refused(why), time.time()))
    else:
        try:
            solo = Solo(errand, root, archive, bell)
        except OSError as error:
            raise sandbox.unusable(error) from error
        end, news = solo.run(), solo.news
    if end.report is not None:
        if end.report["cause"] == "interpreter":  # the next host may have a Python that fits
            raise Trouble(
                sandbox.NO_PYTHON, "no Python here runs it", why=end.report["message"]
            )
        _bring(errand, folder, root, end.report, news)
    elif end.code == errand.checkpoint_exit:
        _hand_over(errand, root)
    return end.code


def _bring(
    errand: Errand,
    folder: str,
    root: str,
    report: Dict[str, Any],
    news: List[Dict[str, Any]],
) -> None:
    """Write `out/`; where there is no room for all, at least the loss."""
    about = {**host.facts(), "news": news}
    try:
        parcel.write(folder, root, report, about)
    except OSError as error:
        text = f"the result could not be written: {error.strerror}"
        lost = loss(errand, results.refused(text), report["started"])
        sandbox.remove(root)  # that makes room
        try:
            parcel.write(folder, root, lost, about)
        except OSError:
            raise sandbox.unusable(error) from error


def _hand_over(errand: Errand, root: str) -> None:
    """Leave in `checkpoints/` whole ones only: all of it travels."""
    owner = checkpoint.Owner(f"{root}/{sandbox.CHECKPOINTS}", *errand.replica)
    with contextlib.suppress(OSError):
        for name in os.listdir(owner.folder):
            if name.startswith("."):
                outputs.remove(f"{owner.folder}/{name}")
        tidy.prune(owner, "")  # one may have been made since the last was told


def main(argv: List[str], archive: str) -> int:
    """Arguments: the job's folder (default: this one), and where to work (default: in it)."""
    os.umask(0o077)
    process.become_subreaper()
    bell = Bell()
    folder = os.path.abspath(argv[0] if argv else ".")
    scratch = os.path.abspath(argv[1]) if len(argv) > 1 and argv[1] else folder
    try:
        return run(sandbox.read(folder), folder, scratch, os.path.abspath(archive), bell)
    except Trouble as error:
        trouble = error
    except Exception as error:  # noqa: BLE001  whatever it is, who started us must hear of it
        what = f"the runner met what it does not know: {type(error).__name__}"
        trouble = Trouble(sandbox.BROKEN, what, why=str(error), fix="please report it")
    sandbox.tell(folder, trouble)
    return trouble.code
