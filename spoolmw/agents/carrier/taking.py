"""Takes what a host sends: results, output files, checkpoints, each checked while it is written.

Rule 1: nothing gets its proper name before its length and digest are right.
Rule 2: bytes of an attempt that nobody knows (any more) are counted and thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from spoolmw.agents.carrier.book import Given
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner import checkpoint, outputs

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Taker(Protocol):
    """Somebody who waits for the bytes of an event."""

    left: int  #: bytes that are still to come

    def take(self, data: memoryview) -> None:
        """Some of them. Raises Garbage."""

    def abandon(self) -> None:
        """The rest will never come."""


def feed(taker: Taker, data: bytes) -> None:
    """Hand on a frame of bytes; more than was announced is garbage."""
    if len(data) > taker.left:
        raise Garbage("more bytes than were announced")
    taker.left -= len(data)
    with memoryview(data) as view:
        taker.take(view)


def discard(staged: str) -> None:
    """A result came that nobody waits for."""
    with contextlib.suppress(OSError):
        os.unlink(staged)
    with contextlib.suppress(OSError):
        outputs.remove(f"{staged}.files")


class Bodies:
    """The results of one `ended` frame, one after the other, into `stage/`."""

    def __init__(self, stage: str, reports: list[tuple[dict[str, Any], Given | None]]) -> None:
        self._stage = stage
        self._todo = iter(reports)
        self._now: _Body | None = None
        self.left = sum(report["body_bytes"] for report, _ in reports)
        self.good: list[dict[str, Any]] = []  #: reports whose result stands whole in `stage/`
        self.spoilt: list[dict[str, Any]] = []  #: those that are not what was announced
        self._next()

    def take(self, data: memoryview) -> None:
        while data:
            assert self._now is not None
            part = data[: self._now.left]
            data = data[len(part) :]
            self._now.write(part)
            if not self._now.left:
                self._end()

    def abandon(self) -> None:
        if self._now is not None:
            self._now.discard()

    def _next(self) -> None:
        """Begin the next one that has bytes."""
        for report, given in self._todo:
            self._now = _Body(self._stage, report, given)
            if self._now.left:
                return
            self._end_one(self._now)
        self._now = None

    def _end(self) -> None:
        assert self._now is not None
        self._end_one(self._now)
        self._next()

    def _end_one(self, body: _Body) -> None:
        if body.given is None:
            return
        (self.good if body.finish() else self.spoilt).append(body.report)


class _Body:
    """One result that is coming."""

    def __init__(self, stage: str, report: dict[str, Any], given: Given | None) -> None:
        self.report = report
        self.given = given
        self.left: int = report["body_bytes"]
        self._path = f"{stage}/{report['attempt']}"
        self._fd = -1
        self._digest = hashlib.sha256()
        if given is not None and self.left:
            self._fd = os.open(self._path, _FLAGS, 0o666)

    def write(self, data: memoryview) -> None:
        self.left -= len(data)
        if self._fd < 0:
            return
        self._digest.update(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def finish(self) -> bool:
        """Whether it is what its report says."""
        if self._fd < 0:
            return True
        os.close(self._fd)
        self._fd = -1
        if self._digest.hexdigest() == self.report["digest"]:
            return True
        self._remove()
        return False

    def discard(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class Folder:
    """Files that go into one folder: an attempt's outputs."""

    def __init__(self, folder: str, files: list[list[Any]], *, wanted: bool) -> None:
        self.left: int = sum(each[-1] for each in files)
        self._folder = folder
        self._files: Iterator[list[Any]] = iter(files if wanted else ())
        self._fd = -1
        self._rest = 0  #: bytes of the present file that are still to come
        if wanted:
            outputs.fresh(folder)
        self._next()

    def take(self, data: memoryview) -> None:
        while data and self._fd >= 0:
            part = data[: self._rest]
            data = data[len(part) :]
            self._rest -= len(part)
            while part:
                part = part[os.write(self._fd, part) :]
            if not self._rest:
                self._next()

    def abandon(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            outputs.remove(self._folder)

    def _next(self) -> None:
        self._close()
        for name, *mode, size in self._files:
            path = f"{self._folder}/{name}"
            if "/" in name:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            allowed = 0o666 | (0o111 if mode and mode[0] & 0o100 else 0)
            self._fd = os.open(path, _NEW, allowed)
            if size:
                self._rest = size
                return
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Saved:
    """A checkpoint that comes home: it is there when every byte of it was verified."""

    def __init__(self, place: str, entry: dict[str, Any], files: list[list[Any]], wanted: bool):  # noqa: FBT001
        task, replica, number = entry["attempt"].split(".")
        self._owner = checkpoint.Owner(place, task, int(replica))
        self._name = f"{number}-{entry['sequence']}"
        self.key = f"{task}/{replica}/{self._name}"  #: as the host names it
        self._half = f"{self._owner.folder}/.{self._name}.tmp"
        self._wanted = wanted
        if wanted:
            os.makedirs(self._owner.folder, exist_ok=True)
        self._inside = Folder(self._half, files, wanted=wanted)

    @property
    def left(self) -> int:
        return self._inside.left

    @left.setter
    def left(self, value: int) -> None:
        self._inside.left = value

    def take(self, data: memoryview) -> None:
        self._inside.take(data)

    def abandon(self) -> None:
        if self._wanted:
            self._inside.abandon()

    def finish(self) -> None:
        """Give it its name. Raises checkpoint.Damaged, also when it is another's."""
        if not self._wanted or os.path.isdir(f"{self._owner.folder}/{self._name}"):
            self.abandon()
            return
        # `verify` reads the name of the folder too, so it stands one deeper for a moment.
        inner = f"{self._half}.whole"
        outputs.fresh(inner)
        whole = f"{inner}/{self._name}"
        try:
            os.rename(self._half, whole)
            checkpoint.verify(whole, self._owner)
            _sync_all(whole)
            os.rename(whole, f"{self._owner.folder}/{self._name}")
            _sync(self._owner.folder)
        finally:
            outputs.remove(inner)


def _sync_all(folder: str) -> None:
    for above, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(f"{above}/{name}")
        _sync(above)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
