"""The handle of a submitted task: a `concurrent.futures.Future` that can also be awaited."""

from __future__ import annotations

import asyncio
import logging
import os
from _thread import RLock
from collections.abc import Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Protocol

from spoolmw.format.call import StandsForTask
from spoolmw.model.ids import TaskId

log = logging.getLogger("spoolmw.client")


@dataclass(slots=True)
class Ended:
    """How a task ended for its caller: with a value, an error, or cancelled."""

    value: Any = None
    error: BaseException | None = None
    cancelled: bool = False


class Progress(NamedTuple):
    """How far a running attempt said that it is."""

    fraction: float  #: from 0 to 1
    text: str
    at: float  #: wall clock, seconds since 1970


class Keeper(Protocol):
    """What a task needs of its spool."""

    def ensure(self) -> None:
        """See to it that somebody waits for results (after a fork nobody does)."""

    def cancel(self, task: SpoolTask, *, waiting_only: bool) -> bool:
        """Cancel the task in the spool; False when it cannot be."""

    def wait_for(self, task: SpoolTask) -> None:
        """Have the task end when its result is there."""

    def state(self, task: SpoolTask) -> str:
        """The task's state as the daemon has it; "" when that cannot be told."""

    def progress(self, tasks: Sequence[SpoolTask]) -> Mapping[str, Progress]:
        """How far these are, by id, as far as they said so; empty while the daemon is down."""


class Lock(RLock):  # type: ignore[misc]  # final only to the type checker
    """What a task has in the place of a future's condition: nobody waits on it.

    Who waits for a task does so with `concurrent.futures.wait`, on an event of his own.
    """

    __slots__ = ()

    def notify_all(self) -> None:
        """Nobody waits here."""


class SpoolTask(Future[Any]):
    """A task in the spool. It ends by itself: a thread of the spool waits for its result file.

    `id`, `name`, `box` and `path` (of its result file) tell what it is in the spool. As an
    argument of another task it stands for its value.
    """

    is_command = False  #: it has files, no value
    outcome: Ended | None = None  #: set when its result is read, before the file goes
    predecessors: Sequence[SpoolTask] = ()  #: tasks whose values stand in its arguments
    is_left = False  #: its result was read, and stays for its successors
    wanted_by: Collection[TaskId] = ()  #: those successors
    box = ""
    skipped = 0  #: how often a later task's result was found first
    number = 0  #: which one it is of those that are waited for
    added_at = 0.0  #: monotonic clock, when the waiter took it up
    record: Mapping[str, Any] = MappingProxyType({})  #: what the daemon knew when it was found
    array: SpoolTask | None = None  #: whose element it is
    total = 0  #: elements, of an array
    is_attached = False  #: somebody else submitted it, its result may be there

    def __init__(
        self, keeper: Keeper, task_id: TaskId, name: str, dropped: str, path: str, *, keep: bool
    ) -> None:
        # As Future.__init__ does, but for the condition: that is nine objects, 1.5 kB.
        self._condition = Lock()  # type: ignore[assignment]
        self._state = "PENDING"
        self._result = self._exception = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        self.id = task_id
        self.name = name
        self.dropped = dropped  #: the file's name in `incoming/`
        self.result_file = path
        self.keep = keep  #: the result file stays when it has been read
        self._keeper = keeper

    @property
    def path(self) -> Path:
        """Where the result file appears, or was."""
        return Path(self.result_file)

    @property
    def files(self) -> Path:
        """Where a command's output files appear."""
        return Path(self.result_file.removesuffix(".result") + ".files")

    def result(self, timeout: float | None = None) -> Any:
        """The task's value; raises what it raised, TaskFailed, TimeoutError or CancelledError."""
        self._await_end(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None; raises TimeoutError or CancelledError."""
        self._await_end(timeout)
        return super().exception(0)

    def _await_end(self, timeout: float | None) -> None:
        """Return when the task has ended. Raises TimeoutError."""
        self._keeper.ensure()
        if not super().done() and not wait([self], timeout).done:
            raise TimeoutError

    def done(self) -> bool:
        """Whether the task ended (its result was read) or was cancelled."""
        self._keeper.ensure()
        return super().done()

    def running(self) -> bool:
        """Whether an attempt runs just now, as the daemon says; False while it is down."""
        return not super().done() and self._keeper.state(self) == "running"

    def progress(self) -> Progress | None:
        """How far the running attempt says it is (with `spoolmw.progress`), as the daemon heard it.

        None when it said nothing, does not run, or the daemon is down.
        """
        if super().done():
            return None
        return self._keeper.progress([self]).get(self.id)

    def cancel(self) -> bool:
        """Cancel the task; one that runs is stopped with all its processes.

        False when it has ended already, or when the daemon has it and does not answer.
        """
        return self._cancel(waiting_only=False)

    def _cancel(self, *, waiting_only: bool) -> bool:
        if super().done():
            return self.cancelled()
        if not self._keeper.cancel(self, waiting_only=waiting_only):
            return False
        return self.end(Ended(cancelled=True)) or self.cancelled()

    def end(self, ended: Ended) -> bool:
        """Let the task have ended so; False when it had ended before. For the waiter."""
        try:
            if ended.cancelled:
                return self._end_cancelled()
            if ended.error is not None:
                self.set_exception(ended.error)
            else:
                self.set_result(ended.value)
        except InvalidStateError:
            return False
        finally:
            self._let_predecessors_go()
        return True

    def want(self, successor: TaskId) -> None:
        """Leave the result file where it is until `let_go` is called for this successor."""
        vars(self).setdefault("wanted_by", set()).add(successor)

    def let_go(self, successor: TaskId) -> None:
        """This successor needs the result file no more; once read, it goes with the last one."""
        if isinstance(self.wanted_by, set):
            self.wanted_by.discard(successor)
        if self.is_left and not self.wanted_by:
            remove_result(self.result_file)

    def _let_predecessors_go(self) -> None:
        if self.predecessors:
            predecessors, self.predecessors = self.predecessors, ()
            for task in predecessors:
                task.let_go(self.id)

    def __reduce__(self) -> NoReturn:
        raise StandsForTask(
            f"the task {self.name} ({self.id}) exists only here; as an argument of submit() it"
            " stands for its value"
        )

    def _end_cancelled(self) -> bool:
        if not super().cancel():
            return False
        mine = object()
        if vars(self).setdefault("_told_by", mine) is not mine:
            return False  # another thread cancelled at the same moment
        self.set_running_or_notify_cancel()  # wakes wait() and as_completed(), as executors do
        return True

    def renew_lock(self) -> None:
        """After a fork: the lock may be held by a thread that is not in this process."""
        self._condition = Lock()  # type: ignore[assignment]

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait within asyncio. If the awaiting is cancelled, so is the task."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def tell(_: Future[Any]) -> None:
            try:
                loop.call_soon_threadsafe(_settle, over)
            except RuntimeError:
                return  # the loop was closed: nobody awaits any more

        self._keeper.ensure()
        self.add_done_callback(tell)
        try:
            yield from over
        except asyncio.CancelledError:
            loop.run_in_executor(None, self.cancel)  # it asks the daemon, which takes a moment
            raise
        if self.cancelled():
            raise asyncio.CancelledError
        return super().result(0)

    def __repr__(self) -> str:
        state = "done" if super().done() else "pending"
        if super().done() and (self.cancelled() or self._exception is not None):
            state = "cancelled" if self.cancelled() else "failed"
        return f"<SpoolTask {self.name} {self.id} {state}>"


def remove_result(path: str) -> None:
    """Remove a result that was read; what cannot be removed stays, and the log says so."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s was read, but cannot be removed: %s", path, error.strerror)


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
