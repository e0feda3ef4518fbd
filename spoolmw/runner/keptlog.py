"""The files of a shelf: frames as on the wire, read back as far as they are whole.

A record says what is kept (a report, and behind it the body) or what is gone (attempts that
were released). A file goes when all that it keeps is gone; what it said of others is said again.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from . import wire
from .hostfolder import ATTEMPT, HostFolder

_HEAD = struct.Struct(">IB")
HEAD_BYTES = _HEAD.size  #: before each frame's payload
LOG_BYTES = 8 << 20  #: then a new log begins
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
_SYNC_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Log:
    """One file of reports."""

    def __init__(self, path: str, flags: int = 0) -> None:
        """Open it. Raises OSError."""
        self.path = path
        self.fd = os.open(path, _FLAGS | flags, 0o600)
        self.size = 0
        self.live = 0  #: reports in it that were not released
        self.released: List[str] = []
        self.dirty = False


class Logs:
    """All of them, the newest last: that one is written to."""

    def __init__(self, folder: HostFolder) -> None:
        self._folder = folder
        self._gone: List[str] = []
        self._syncing: Optional[threading.Thread] = None
        names = sorted(os.listdir(folder.path("outbox")))
        self._number = int(names[-1].partition(".")[0]) if names else 0
        self.all: List[Log] = [Log(folder.path(f"outbox/{name}")) for name in names]

    def newest(self) -> Optional[Log]:
        """The log for what comes now; None when none can be made."""
        if self.all and self.all[-1].size < LOG_BYTES:
            return self.all[-1]
        path = self._folder.path(f"outbox/{self._number + 1:09d}.log")
        try:
            log = Log(path, os.O_CREAT | os.O_EXCL)
        except OSError:
            return None
        self._number += 1
        self.all.append(log)
        self.clean()
        return log

    def append(self, log: Optional[Log], data: bytes) -> bool:
        """Write records; False when there is no room."""
        if log is None:
            return False
        if self._gone:
            # Behind the reports, whose offsets are known already.
            data += wire.json_frame({"gone": self._gone})
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(log.fd, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(log.fd, log.size)
            return False
        self._gone = []
        log.size += len(data)
        log.dirty = True
        return True

    def release(self, attempt: str, log: Log) -> None:
        """A report in this log is gone."""
        log.live -= 1
        log.released.append(attempt)
        self._gone.append(attempt)
        if not log.live and log is not self.all[-1]:
            self._remove(log)

    def clean(self) -> None:
        """Remove all but the newest that keep nothing."""
        for log in self.all[:-1]:
            if not log.live:
                self._remove(log)

    def _remove(self, log: Log) -> None:
        self.all.remove(log)
        os.close(log.fd)
        with contextlib.suppress(OSError):
            os.unlink(log.path)
        self._gone = [name for each in self.all for name in each.released]

    def sync(self, paths: Sequence[str]) -> None:
        """Begin to make durable what is kept, the files at `paths` before.

        In a thread, as a disk may take its time; what was released costs nothing.
        """
        if not any(log.live for log in self.all):
            self._empty()
            return
        if self._gone:
            self.append(self.newest(), b"")
        dirty = [log for log in self.all if log.dirty]
        for log in dirty:
            log.dirty = False
        fds = [os.dup(log.fd) for log in dirty if log.live]
        if fds:
            folders = [self._folder.path("outbox"), self._folder.path("stage")]
            self._syncing = threading.Thread(
                target=_sync, args=(paths, folders, fds), daemon=True
            )
            self._syncing.start()

    @property
    def is_syncing(self) -> bool:
        return self._syncing is not None and self._syncing.is_alive()

    def _empty(self) -> None:
        """Nothing is kept: the one log that is left begins anew."""
        self.clean()
        self._gone = []
        for log in self.all:
            with contextlib.suppress(OSError):
                os.ftruncate(log.fd, 0)
                log.size = 0
                log.released = []
                log.dirty = False

    def wait(self) -> None:
        """Until what is being made durable is so."""
        if self._syncing is not None:
            self._syncing.join()

    def close(self) -> None:
        """Wait, and close all."""
        self.wait()
        for log in self.all:
            os.close(log.fd)
        self.all = []


def frames(data: bytes) -> Iterator[Tuple[int, int, int]]:
    """Kind, start and end of each frame, up to the first that is not whole."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data) or kind not in (wire.JSON, wire.BYTES) or not length:
            return
        yield kind, at + _HEAD.size, end
        at = end


def told(data: bytes) -> Optional[Dict[str, Any]]:
    """One record; None when it is none of ours."""
    try:
        tree = json.loads(data)
        report = tree.get("kept")
        if report is not None and not ATTEMPT.fullmatch(report["attempt"]):
            return None
        return tree if isinstance(tree, dict) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _sync(paths: Sequence[str], folders: Sequence[str], fds: Sequence[int]) -> None:
    """Bodies before the logs that tell of them."""
    for path in paths:
        _sync_path(path)
        for above, _, names in os.walk(f"{path}.files"):
            for name in names:
                _sync_path(f"{above}/{name}")
            _sync_path(above)
    for folder in folders:
        _sync_path(folder)
    for fd in fds:
        with contextlib.suppress(OSError):
            os.fdatasync(fd)
        os.close(fd)


def _sync_path(path: str) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, _SYNC_FLAGS)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
