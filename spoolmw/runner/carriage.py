"""What a host is given: files that come over the stream, each written aside and then named.

Rule 1: nothing gets its name that has another length or digest than was announced.
Rule 2: what cannot be written (a full disk) is swallowed and refused by its place; only what is
not the protocol (another place, more bytes, a frame in between) ends the connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any, Dict, List, Optional, Tuple

from . import outputs, wire
from .hostfolder import HostFolder, Place, place_of
from .packs import MOST_BYTES, Packs

MOST_TOGETHER_BYTES = 16 << 20  #: of one `puts`
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_BYTES = 1 << 50

Refusal = Tuple[str, str]  #: a place, and why nothing stands there


class Intake:
    """Takes the files of one connection."""

    def __init__(self, folder: HostFolder, packs: Packs) -> None:
        self._folder = folder
        self._packs = packs
        self._now: Optional[_Put] = None
        self._together: List[Tuple[str, int]] = []
        self._gathered = bytearray()
        self._due = 0
        self.refused: List[Refusal] = []
        self.sealed: List[str] = []  #: "TASK/REPLICA" of checkpoints that are whole now

    @property
    def is_open(self) -> bool:
        """Whether bytes of a file are still to come."""
        return self._now is not None or bool(self._together)

    def put(self, told: Dict[str, Any]) -> None:
        """A file is announced. Raises WireError for what is no place or no length."""
        size = _size(told["bytes"])
        self._now = _Put(self._folder, told["place"], size, told)
        if not size:
            self._finish()

    def put_together(self, told: Dict[str, Any]) -> None:
        """Several small files are announced, whose bytes follow one after the other."""
        self._together = [(str(name), _size(size)) for name, size in told["files"]]
        self._due = sum(size for _, size in self._together)
        if self._due > MOST_TOGETHER_BYTES or self._due != told["bytes"]:
            raise wire.WireError(f"{self._due} bytes of files together")
        self._gathered = bytearray()
        if not self._due:
            self._part()

    def take(self, data: bytes) -> None:
        """Bytes of what was announced last. Raises WireError when there are too many."""
        if self._now is not None:
            self._now.write(data)
            if not self._now.left:
                self._finish()
        elif self._together:
            self._gathered += data
            if len(self._gathered) > self._due:
                raise wire.WireError("more bytes than were announced")
            if len(self._gathered) == self._due:
                self._part()
        else:
            raise wire.WireError("bytes that nobody announced")

    def abandon(self) -> None:
        """The connection is gone: what came in part goes too."""
        if self._now is not None:
            self._now.discard()
            self._now = None

    def _finish(self) -> None:
        done, self._now = self._now, None
        if done is not None:
            why = done.finish()
            if why:
                self.refused.append((done.name, why))
            elif done.kind == "active":
                self._packs.is_file(done.name)
            elif done.sealed:
                self.sealed.append("/".join(done.sealed.split("/")[1:3]))

    def _part(self) -> None:
        """All bytes of several files have come: write each."""
        start = 0
        files, self._together = self._together, []
        data = bytes(self._gathered)
        packed: List[Tuple[str, bytes]] = []
        for name, size in files:
            part = data[start : start + size]
            start += size
            if size <= MOST_BYTES and _place(name).kind == "active":
                packed.append((name, part))
                continue
            why = _write(self._folder, name, part)
            if why:
                self.refused.append((name, why))
            elif _place(name).kind == "active":
                self._packs.is_file(name)
        self._pack(packed)

    def _pack(self, files: List[Tuple[str, bytes]]) -> None:
        try:
            if files:
                self._packs.add(files)
        except OSError as error:
            self.refused += [(name, error.strerror or str(error)) for name, _ in files]


class _Put:
    """One file that is coming."""

    def __init__(self, folder: HostFolder, name: Any, size: int, told: Dict[str, Any]) -> None:
        self.name = str(name)
        self.left = size
        self._folder = folder
        self._place = _place(name)
        self._wanted: str = told.get("sha256") or ""
        self._digest = hashlib.sha256()
        self._error = ""
        self._fd = -1
        self._half = folder.path(f"tmp/put/{self._place.path.replace('/', '~')[-200:]}")
        try:
            mode = 0o700 if told.get("mode") == 0o700 else 0o600
            self._fd = os.open(self._half, _FLAGS, mode)
        except OSError as error:
            self._fail(error)

    @property
    def kind(self) -> str:
        return self._place.kind

    @property
    def sealed(self) -> str:
        """The folder of the checkpoint that was made whole by this file; "" for others."""
        return self._place.sealed

    def write(self, data: bytes) -> None:
        """Append; more than was announced is not the protocol."""
        self.left -= len(data)
        if self.left < 0:
            self.discard()
            raise wire.WireError(f"{self.name}: more bytes than were announced")
        self._digest.update(data)
        if self._fd < 0:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._fail(error)

    def finish(self) -> str:
        """Give it its name; returns why it has none."""
        if self._wanted and self._digest.hexdigest() != self._wanted:
            self._error = self._error or "its bytes have another digest than was announced"
        if self._error:
            self.discard()
            return self._error
        try:
            if self._place.kind in ("inputs", "checkpoints"):  # they outlive a reboot
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            _give_name(self._folder, self._half, self._place)
        except OSError as error:
            self._fail(error)
        return self._error

    def discard(self) -> None:
        """Leave nothing of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            os.unlink(self._half)

    def _fail(self, error: OSError) -> None:
        self._error = error.strerror or str(error)
        self.discard()


def _write(folder: HostFolder, name: str, data: bytes) -> str:
    """Write a small file in one go; returns why that failed.

    Under its name at once: it is launched only afterwards, and a keeper that starts anew
    empties these folders.
    """
    place = _place(name)
    path = folder.path(place.path)
    if place.kind == "checkpoints":
        raise wire.WireError(f"{name} comes by itself")
    try:
        try:
            fd = os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            fd = os.open(path, _FLAGS, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        return error.strerror or str(error)
    return ""


def _give_name(folder: HostFolder, half: str, place: Place) -> None:
    target = folder.path(place.path)
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    os.rename(half, target)
    if place.sealed:
        whole = folder.path(place.sealed)
        if os.path.isdir(whole):
            outputs.remove(os.path.dirname(target))
        else:
            os.rename(os.path.dirname(target), whole)


def _place(name: Any) -> Place:
    try:
        place = place_of(name)
        os.fsencode(place.path)
    except ValueError as error:
        raise wire.WireError(str(error)) from error
    return place


def _size(told: Any) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST_BYTES:
        raise wire.WireError(f"a length of {str(told)[:40]}")
    return told
