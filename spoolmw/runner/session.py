"""What `spoolmw.checkpoint` does inside a task: load, save, progress for the attempt at hand.

The worker lays the attempt on the `desk`; the first load or save opens a session. A task that
uses neither costs two assignments. By hand, where the desk is empty, everything does nothing.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import sys
import time
from typing import Any, Callable, Iterable, Iterator, Optional

from . import limits, news, order, state, steps
from .checkpoint import Checkpoint, Draft, Owner, clean, newest, orders
from .desk import desk
from .order import Order

KIND = "call"
_PROGRESS_S = 0.25  #: between two that are sent, in the long run
_BURST_S = 0.75  #: so much may be sent ahead: a few at once go out at once
_MOST_TEXT = 200  #: characters
_SOON_S, _LATE_S = 1.0, 60.0  #: after a save that failed the next one is due in between
_NEVER = float("inf")
_monotonic = time.monotonic


def load(default: Any) -> Any:
    """The newest whole state that an attempt of this task saved, or `default`."""
    session = desk.session or _open()
    return default if session is None else session.load(default)


def save(value: Any) -> None:
    """Save `value` if the interval has passed; else nothing, within a microsecond."""
    session = desk.session
    if session is None:
        session = _open()
        if session is None:
            return
    if _monotonic() >= session.save_at:
        session.save(value)


def due() -> bool:
    """Whether the next save would write."""
    session = desk.session or _open()
    return session is not None and _monotonic() >= session.due_at


def resumable(items: Iterable[Any], value: Any) -> Iterator[Any]:
    """The loop behind `steps`."""
    target = steps.Target(value)  # what cannot be restored is refused by hand too
    session = desk.session or _open()
    return iter(items) if session is None else session.resumable(items, target)


def progress(fraction: float, text: str = "") -> None:
    """Say how far the attempt is; what comes too fast is left out."""
    if not -1e-6 <= fraction <= 1.000001:
        raise ValueError(f"progress() takes a fraction from 0 to 1, not {fraction!r}")
    at_hand = desk.order
    if at_hand is None:
        return
    now = _monotonic()
    if desk.told_until - now > _BURST_S or desk.send is None:
        return
    desk.told_until = max(desk.told_until, now) + _PROGRESS_S
    if os.getpid() != desk.pid:
        return  # a child that the task forked
    exact = min(1.0, max(0.0, float(fraction)))
    if desk.part is not None:
        number, count = desk.part
        exact = (number + exact) / count
    line = " ".join(str(text).split())[:_MOST_TEXT]
    desk.send(news.progressed(at_hand.attempt, round(exact, 6), line))


class Session:
    """One attempt that saves its progress."""

    def __init__(self, told: Order, place: str, send: Callable[[bytes], object]) -> None:
        task, replica, attempt = told.attempt.split(".")
        self._told = told
        self._send = send
        self._owner = Owner(place, task, int(replica))
        self._attempt = int(attempt)
        self._every_s: float = (told.checkpoint or {}).get("every", order.DEFAULT_EVERY_S)
        self._lock = _thread.allocate_lock()
        self._ending = False
        self._resumed = False
        self._warned = ""
        self._way = ""  #: how it saves: "save" or "steps"
        clean(self._owner)
        own = (number for made, number in orders(self._owner) if made == self._attempt)
        self._sequence = max(own, default=0)
        self._set_due(_monotonic() + self._every_s)
        self._listen_for_term()
        send(order.SAVES)

    def load(self, default: Any) -> Any:
        """The newest whole state, or `default`."""
        self._go("save")
        found = self._newest()
        if found is None:
            return default
        if found.manifest.get("steps") is not None:
            raise RuntimeError(
                f"checkpoint {found.name} was made by checkpoint.steps(), "
                "and only steps() can go on from it"
            )
        return _read(found)

    def save(self, value: Any) -> None:
        """Write `value`, whole or not at all."""
        self._go("save")
        self._save(lambda draft: state.write(draft, value))

    def resumable(self, items: Iterable[Any], target: steps.Target) -> Iterator[Any]:
        """The items that are not done yet; the target's state is saved between two of them."""
        self._go("steps")
        found = self._newest()
        if found is None:
            return self._walk(iter(items), target, 0)
        if found.manifest.get("steps") is None:
            raise RuntimeError(
                f"checkpoint {found.name} was made by checkpoint.save(), "
                "and only load() can take it up"
            )
        done = int(found.manifest["steps"])
        left = steps.beyond(items, done)  # before the state: making them may use random numbers
        target.fill(_read(found, target.find))
        return self._walk(left, target, done)

    def _walk(self, items: Iterator[Any], target: steps.Target, done: int) -> Iterator[Any]:
        for item in items:
            yield item
            done += 1
            if _monotonic() >= self.due_at:
                self._save(functools.partial(target.write, done=done))

    def _go(self, way: str) -> None:
        """One task saves in one way: a checkpoint holds one state."""
        if self._way == "steps":
            raise RuntimeError(_TWICE if way == "steps" else _ONE_WAY)
        if self._way == "save" and way == "steps":
            raise RuntimeError(_ONE_WAY)
        self._way = way
        self._set_due(self.due_at)

    def _newest(self) -> Optional[Checkpoint]:
        found, notes = newest(self._owner, KIND, self._told.since)
        if not self._resumed and (found is not None or notes):
            self._resumed = True
            self._send(news.resumed(self._told.attempt, found, notes))
        return found

    def _save(self, write: Callable[[Draft], Any]) -> None:
        if os.getpid() != desk.pid:
            self.due_at = self.save_at = _NEVER
            return  # a child that the task forked: saving is its parent's business
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            made = self._write(write)
        finally:
            self._lock.release()
        if made and self._ending:
            _end()

    def _write(self, write: Callable[[Draft], Any]) -> bool:
        number = self._sequence + 1
        try:
            with limits.Lifted(), Draft(self._owner, (self._attempt, number), KIND) as draft:
                more = write(draft)
                made = draft.seal(**more)
        except OSError as error:
            self._set_due(_monotonic() + min(max(self._every_s, _SOON_S), _LATE_S))
            self._warn(
                f"checkpoint {self._attempt}-{number} could not be written: "
                f"{error.strerror}; the task goes on"
            )
            return False
        except state.CannotSave as error:
            raise TypeError(str(error)) from error.__cause__
        self._sequence = number
        self._set_due(_monotonic() + self._every_s)
        self._send(news.checkpointed(self._told.attempt, made))
        return True

    def _listen_for_term(self) -> None:
        """From now on TERM means: save at the next occasion, then end."""
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return  # the task has its own way to end
        with contextlib.suppress(ValueError):  # not in the main thread: it ends as before
            signal.signal(signal.SIGTERM, self._hear_term)

    def _hear_term(self, _number: int, _frame: object) -> None:
        if os.getpid() != desk.pid:  # a child that the task forked ends as its parent expects
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        self._ending = True
        self._set_due(0.0)

    def _set_due(self, at: float) -> None:
        self.due_at = at  #: monotonic clock
        #: From when on `save` is more than a look at the clock: beside steps() it is an error.
        self.save_at = 0.0 if self._way == "steps" else at
        if self._ending:  # asked last: TERM may have come between the lines
            self.due_at = self.save_at = 0.0

    def _warn(self, text: str) -> None:
        if text != self._warned:
            self._warned = text
            with contextlib.suppress(Exception):  # whatever the task made of the stream
                sys.stderr.write(f"spoolmw: {text}\n")


_TWICE = (
    "checkpoint.steps() was used before in this task, and only one loop can be resumed: "
    "for more, use checkpoint.load() and checkpoint.save()"
)
_ONE_WAY = (
    "checkpoint.steps() saves by itself, so load() and save() cannot be used beside it: "
    "put what is to be saved into its state="
)


def _open() -> Optional[Session]:
    if desk.order is None or desk.send is None or desk.part or os.getpid() != desk.pid:
        return None
    opened = Session(desk.order, desk.place, desk.send)
    desk.session = opened
    return opened


def _read(found: Checkpoint, finder: Optional[state.Finder] = None) -> Any:
    try:
        return state.read(found, finder)
    except Exception as error:
        raise RuntimeError(
            f"checkpoint {found.name} is whole, but cannot be loaded here: "
            f"{type(error).__name__}: {error}. To begin anew: spoolmw-ctl retry ID --fresh"
        ) from error


def _end() -> None:
    """The state is saved: end as TERM ends who does not listen to it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)
