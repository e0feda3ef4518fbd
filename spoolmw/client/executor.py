"""A `concurrent.futures.Executor` on a spool: it behaves as the standard library's own.

Rule: where `SpoolTask` and the standard library differ, this file follows the library: a
future that runs cannot be cancelled, and the interpreter waits for its futures at exit.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, wait
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

from spoolmw.client.future import Ended, SpoolTask
from spoolmw.client.link import Link
from spoolmw.client.taskmap import run_chunk

T = TypeVar("T", bound=SpoolTask)


class PoolTask(SpoolTask):
    """A future of an executor: `cancel()` spares a call that runs already."""

    def cancel(self) -> bool:
        """Cancel the call if it does not run yet; False when it runs or has ended."""
        return self._cancel(waiting_only=True)


class Submits(Protocol):
    """What an executor needs of a submitter."""

    def submit_as(
        self, kind: type[T], function: Callable[..., Any], args: Any, kwargs: Any
    ) -> T:
        """Submit a call with a future of the class `kind`."""


class SpoolExecutor(Executor):
    """Runs calls as tasks of a spool; made by `spool.executor()`."""

    def __init__(self, submitter: Submits, link: Link) -> None:
        self._submitter = submitter
        self._link = link
        self._lock = threading.Lock()
        self._is_shut = False
        self._open: set[SpoolTask] = set()
        _executors.add(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolTask:
        """Schedule `fn(*args, **kwargs)` and return its future."""
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _exit.is_set():
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            task = self._submitter.submit_as(PoolTask, fn, args, kwargs)
            self._open.add(task)
        task.add_done_callback(self._forget)
        return task

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As the builtin map, but the calls are made by the grid, `chunksize` to a task.

        The iterables are consumed at once; the values come in order, each when it is there.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        until = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        if chunksize == 1:
            tasks = [self.submit(fn, *args) for args in calls]
            return self._values(tasks, until)
        chunks = iter(partial(_take, calls, chunksize), [])
        tasks = [self.submit(run_chunk, fn, chunk) for chunk in chunks]
        return chain.from_iterable(self._values(tasks, until))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # the library's own signature
        """Take no more calls; with `wait`, return when all futures ended."""
        with self._lock:
            self._is_shut = True
            tasks = list(self._open)
        if cancel_futures:
            self._cancel(tasks)
        if wait:
            self.join()

    def join(self) -> None:
        """Wait until every future has ended."""
        with self._lock:
            tasks = list(self._open)
        self._link.ensure()
        wait(tasks)
        self._link.waiter.finish_callbacks()

    def abandon(self) -> None:
        """After a fork: the futures are the parent's to wait for."""
        self._lock = threading.Lock()
        self._open = set()

    def _values(self, tasks: list[PoolTask], until: float | None) -> Iterator[Any]:
        try:
            tasks.reverse()
            while tasks:
                yield _last_value(tasks, until)
        finally:
            self._cancel(tasks)

    def _cancel(self, tasks: Iterable[SpoolTask]) -> None:
        """Cancel what does not run yet, all with one request."""
        waiting = [task for task in tasks if not task.done()]
        for task in self._link.cancel_many(waiting, waiting_only=True):
            task.end(Ended(cancelled=True))

    def _forget(self, task: Any) -> None:
        with self._lock:
            self._open.discard(task)


def _last_value(tasks: list[PoolTask], until: float | None) -> Any:
    """Take the last task off the list if its value is there in time; nothing else keeps either."""
    left = None if until is None else until - time.monotonic()
    value = tasks[-1].result(left)
    tasks.pop()
    return value


def _take(calls: Iterator[tuple[Any, ...]], number: int) -> list[tuple[Any, ...]]:
    return list(islice(calls, number))


_executors: weakref.WeakSet[SpoolExecutor] = weakref.WeakSet()
_exit = threading.Event()


def _at_exit() -> None:
    """The interpreter ends only when the futures have, as with the library's executors."""
    _exit.set()
    for executor in list(_executors):
        executor.join()


def _after_fork() -> None:
    for executor in list(_executors):
        executor.abandon()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
