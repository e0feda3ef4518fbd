"""Keeps a worker's surroundings the same for every attempt: folder, environment, streams, seeds.

Rule: what can be put back is put back; what cannot (threads, a closed stream) is a reason to
replace the worker, which `leave()` returns.

Each question to the kernel costs a no-op more than all that Python does for it, so some are not
asked after a call that was `brief`: see `BRIEF_S`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes a dear enum of each handler
import _thread
import contextlib
import functools
import os
import posix
import resource
import signal
import sys
import time
from typing import Any, Callable, Dict, NamedTuple, Tuple

from . import outputs, results

#: A call that took less than this made no process (to fork a Python takes ten times as long) and
#: touched next to no new memory. What else it could do is looked for, or noted when it is done.
BRIEF_S = 50e-6
#: So many such calls in a row are measured by the clock alone; then the kernel is asked.
MOST_BRIEF = 15
MAX_ATTEMPTS = 100_000  #: then a worker is replaced, whatever it has leaked
MAX_GROWTH_BYTES = 256 << 20  #: of resident memory kept after an attempt
_RESET_BYTES = 16 << 20  #: a peak this far above the last one known is put back
_UMASK = 0o022
_OLD_NS = 50_000_000  #: a folder's time stamp this old can tell whether it was changed since
_HANDLED = (signal.SIGTERM, signal.SIGALRM, signal.SIGINT)
#: What a call may set for the whole process, where it is found: here and where pickles look for it.
_NOTED = (("umask", os, posix), ("setitimer", signal, _signal), ("alarm", signal, _signal))


class Used(NamedTuple):
    """What one attempt used."""

    cpu_s: float
    memory_bytes: int


class Surroundings:
    """The surroundings of one worker process; made once at its start."""

    def __init__(self, scratch: str, umask: int = _UMASK) -> None:
        self._scratch = scratch
        self._umask = umask
        self._environ: Dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # a copy costs 10 us
        self._base = dict(self._environ)
        self._text = dict(os.environ)
        self._expected = self._base
        self._extras = False
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._inodes = [os.fstat(fd).st_ino for fd in (1, 2)]
        self._handlers = [(number, _signal.getsignal(number)) for number in _HANDLED]
        self._threads = _thread._count()
        self._attempts = 0
        os.umask(umask)
        os.makedirs(scratch, exist_ok=True)
        outputs.empty(scratch)
        self._inode = self._changed_ns = 0
        self._stand_in_folder()
        self._worn_by = ""
        self._is_touched = False
        for name, *modules in _NOTED:
            noted = self._noted(getattr(modules[0], name))
            for module in modules:
                setattr(module, name, noted)
        self._brief = 0  #: calls in a row that were not measured
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._children_s = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN))
        self._cpu_s = _cpu(usage) + self._children_s
        self._start_kb = self._peak_kb = usage.ru_maxrss

    def enter(self, own: Dict[str, str], env: Dict[str, str]) -> None:
        """Set the attempt's environment: what each attempt has (`own`), and what it asked for."""
        data = self._environ
        self._extras = bool(env)
        for key, value in own.items():
            name = key.encode()
            wanted = value.encode() if value.isascii() else os.fsencode(value)
            if data.get(name) != wanted:  # as os.environ does it, at a third of the price
                os.putenv(name, wanted)
                data[name] = wanted
        for key, value in env.items():
            os.environ[key] = value
        self._expected = dict(data)

    def tails(self) -> Tuple[str, str]:
        """The ends of what the attempt printed; the files are empty afterwards."""
        streams = (sys.stdin, sys.stdout, sys.stderr)
        if streams != self._streams:
            for stream in streams:
                _flush(stream)
            sys.stdin, sys.stdout, sys.stderr = self._streams
        return self._tail(0), self._tail(1)

    def _tail(self, which: int) -> str:
        fd = which + 1
        _flush(self._streams[fd])
        try:
            found = os.fstat(fd)
            if found.st_ino != self._inodes[which]:
                self._worn_by = "its standard streams were redirected"
            elif found.st_size:
                text = results.tail_of(fd)
                os.ftruncate(fd, 0)
                return text
        except OSError:
            self._worn_by = "its standard streams were closed"
        return ""

    def used(self, brief_s: float = 0.0) -> Used:
        """Processor time and peak memory of the attempt that ended; `brief_s` is what a brief one took.

        What the clock does not tell (tens of microseconds each) is told with the next measurement.
        """
        if brief_s > 0 and self._brief < MOST_BRIEF:
            self._brief += 1
            self._cpu_s += brief_s
            return Used(round(brief_s, 6), self._peak_kb << 10)
        self._brief = 0
        usage = resource.getrusage(resource.RUSAGE_SELF)
        if brief_s <= 0:
            self._children_s = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN))
        total = _cpu(usage) + self._children_s
        cpu_s, self._cpu_s = max(0.0, total - self._cpu_s), total
        peak_kb = usage.ru_maxrss
        if peak_kb > self._peak_kb + (_RESET_BYTES >> 10):
            self._peak_kb = _forget_peak()
        return Used(round(cpu_s, 6), peak_kb << 10)

    def full(self, own: Dict[str, str], env: Dict[str, str]) -> Dict[str, str]:
        """The environment of a command: what a worker has at its start, and the attempt's."""
        return {**self._text, **own, **env}

    def leave(self, *, brief: bool = False) -> str:
        """Put everything back; returns why the worker must be replaced, or nothing."""
        self._attempts += 1
        if self._environ != self._expected or self._extras:
            self._put_environment_back()
        if self._is_touched or not brief:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.umask(self._umask)
            self._is_touched = False
        for number, handler in self._handlers:
            if _signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        _reseed()
        return self._worn_by or self._put_folder_back() or self._worn()

    def _noted(self, setter: Callable[..., Any]) -> Callable[..., Any]:
        """`setter`, which from now on leaves a note that it was called."""

        @functools.wraps(setter)
        def noted(*args: Any) -> Any:
            self._is_touched = True
            return setter(*args)

        return noted

    def _put_environment_back(self) -> None:
        for key in list(self._environ):
            if key not in self._base:
                os.environ.pop(os.fsdecode(key), None)
        for key, value in self._base.items():
            if self._environ.get(key) != value:
                os.environ[os.fsdecode(key)] = os.fsdecode(value)

    def _put_folder_back(self) -> str:
        try:
            here = os.stat(".")
            if here.st_ino == self._inode and here.st_nlink:
                # An unchanged time stamp proves nothing while it is young: the clock is coarse.
                if here.st_mtime_ns == self._changed_ns < time.time_ns() - _OLD_NS:
                    return ""
            else:
                os.makedirs(self._scratch, exist_ok=True)
            if os.listdir(self._scratch):
                outputs.empty(self._scratch)
            self._stand_in_folder()
        except OSError as error:
            return f"its folder could not be emptied: {error}"
        return ""

    def stand(self) -> None:
        """Be in the folder, also when somebody removed it while nothing ran here. Raises OSError."""
        if not os.stat(".").st_nlink:
            os.makedirs(self._scratch, exist_ok=True)
            self._stand_in_folder()

    def _stand_in_folder(self) -> None:
        os.chdir(self._scratch)
        here = os.stat(".")
        self._inode, self._changed_ns = here.st_ino, here.st_mtime_ns

    def _worn(self) -> str:
        if _thread._count() > self._threads:
            return "threads were left running"
        if self._peak_kb - self._start_kb > MAX_GROWTH_BYTES >> 10:
            return "it grew"
        if self._attempts >= MAX_ATTEMPTS:
            return "it is old"
        return ""


def _cpu(usage: Any) -> float:
    return float(usage.ru_utime + usage.ru_stime)


def _forget_peak() -> int:
    """Start the count of peak memory anew; returns what is resident now, in KiB."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _flush(stream: Any) -> None:
    # What the task put there may be of any type, and closed, or full.
    with contextlib.suppress(Exception):
        stream.flush()


def _reseed() -> None:
    """Fresh seeds, as a new process would have; only where the modules are loaded at all."""
    loaded = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed()
