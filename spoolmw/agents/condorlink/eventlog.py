"""A log of HTCondor's that is followed: what is new in it since the last look.

Rule: what was before it was opened is not told; whoever opens it asks the queue afterwards, so
that nothing falls between the two. What is odd (another file under its name, shorter than it
was, not readable) is said, and the log opened anew: the queue is then asked again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import htcondor2

from spoolmw.agents.condorlink.eventnews import News, news_of

_MOST_AT_ONCE = 2000  #: events of one look
_STUCK_S = 3.0  #: an event is written at once; so long without its end, and it has none
_AGAIN_S = 10.0  #: between two tries to open what cannot be opened


class OddLog(Exception):
    """The log is not what it was: who knows what was missed."""


class EventLog:
    """One log file; it is made when it is not there and is our own."""

    def __init__(self, path: str, *, is_own: bool) -> None:
        self._path = path
        self._is_own = is_own
        self._log: htcondor2.JobEventLog | None = None
        self._file = (0, 0)  #: device and inode
        self._size = 0
        self._tried_at = 0.0
        self._stuck_at = 0.0  #: since then it grew and no event came; 0: it is not so

    def open(self) -> None:
        """Begin at its present end."""
        self.close()
        self._stuck_at = 0.0
        with contextlib.suppress(OSError):
            if self._is_own:
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            found = os.stat(self._path)
            self._file = found.st_dev, found.st_ino
            self._size = found.st_size
            with contextlib.suppress(htcondor2.HTCondorException, RuntimeError):
                log = htcondor2.JobEventLog(self._path)
                for _ in log.events(stop_after=0):
                    pass
                self._log = log
        self._tried_at = time.monotonic()

    def open_anew(self) -> None:
        """Begin a fresh file where it is our own, else at the present end."""
        self.start_afresh()
        self.open()

    @property
    def size(self) -> int:
        """In bytes, as it was seen last."""
        return self._size

    @property
    def is_blind(self) -> bool:
        """Whether it cannot be read at present."""
        return self._log is None

    def start_afresh(self) -> None:
        """Empty it: no job writes into it any more."""
        self.close()
        if self._is_own:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._log = None

    def oddity(self) -> str:
        """Why it is not the file any more that was opened, or lost some of what was in it; else empty.

        One that could not be opened is tried again now and then.
        """
        now = time.monotonic()
        if self._log is None:
            return "it cannot be opened" if now > self._tried_at + _AGAIN_S else ""
        try:
            found = os.stat(self._path)
        except OSError as error:
            return f"{error.strerror}"
        if (found.st_dev, found.st_ino) != self._file:
            return "it is another file"
        if found.st_size < self._size:
            return "it is shorter than it was"
        is_stuck = self._stuck_at and now > self._stuck_at + _STUCK_S
        return "what is new in it is no event" if is_stuck else ""

    def news(self) -> Iterator[News]:
        """What came since the last look. Raises OddLog for what is no log."""
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return
        if self._log is None or size == self._size:
            return
        self._size = size
        count = 0
        self._stuck_at = self._stuck_at or time.monotonic()
        try:
            for event in self._log.events(stop_after=0):
                self._stuck_at = 0.0
                found = news_of(int(event.type), (event.cluster, event.proc), event)
                if found is not None:
                    yield found
                count += 1
                if count >= _MOST_AT_ONCE:
                    self._size = -1  # there may be more
                    return
        except (htcondor2.HTCondorException, RuntimeError) as error:
            raise OddLog(str(error)) from error
