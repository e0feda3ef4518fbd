"""Checkpoints on disk: `PLACE/TASK/REPLICA/ATTEMPT-SEQUENCE/`, one immutable folder each.

Rule 1: whole or absent. Files are written into `.ATTEMPT-SEQUENCE.tmp`, made durable, described
by a MANIFEST that is written last; then the folder gets its name. What a kill leaves is a folder
that begins with a dot, which counts for nothing and goes when the next attempt looks around.
Rule 2: nothing is used that does not verify: every length and digest, the manifest's own too,
and that it belongs to this very task and replica.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import time
from types import TracebackType
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Type, Union

from . import outputs, results

FORMAT = 1  #: of the manifest and of what it describes
MANIFEST = "MANIFEST"
VERSION = "0.1.0"  #: of spoolmw, for the manifest; a test holds it to the package's own
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MOST_MANIFEST_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_NAME = re.compile(r"(\d{1,9})-(\d{1,9})")
_OWN_DIGEST = b',"sha256":"'
_KEYS = {"format", "task", "replica", "attempt", "sequence", "kind", "saved_at", "files"}

Order = Tuple[int, int]  #: (attempt, sequence): of two checkpoints the higher is the newer
Data = Union[bytes, bytearray, memoryview]


class Damaged(Exception):
    """A checkpoint that cannot be used: cut short, changed, another's, or of another format."""


class Owner(NamedTuple):
    """Whose checkpoints: those of one replica of one task never serve another."""

    place: str  #: the folder of all checkpoints, `checkpoints/` in the spool
    task: str
    replica: int

    @property
    def folder(self) -> str:
        return f"{self.place}/{self.task}/{self.replica}"


class Checkpoint(NamedTuple):
    """A checkpoint that was found whole."""

    path: str
    order: Order
    saved_at: float  #: wall clock, seconds since 1970
    size_bytes: int  #: of its files together
    manifest: Dict[str, Any]

    @property
    def name(self) -> str:
        return "%d-%d" % self.order


class Pen:
    """A file of a checkpoint while it is written: everything goes through the digest."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, _WRITE_FLAGS, 0o666)
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: Data) -> int:
        """Append; nothing is copied, however much it is."""
        with memoryview(data) as view, view.cast("B") as whole:
            done = 0
            while done < len(whole):  # in pieces that the processor's cache holds for both
                with whole[done : done + _PIECE_BYTES] as piece:
                    written = os.write(self._fd, piece)
                with whole[done : done + written] as piece:
                    self._digest.update(piece)
                done += written
        self.size += done
        return done

    def finish(self) -> str:
        """Make it durable and close it; returns the digest."""
        os.fsync(self._fd)
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Draft:
    """A checkpoint that is being written; it is there when `seal` returns, and not before."""

    def __init__(self, owner: Owner, order: Order, kind: str) -> None:
        """`kind` is "call" or "command". Raises OSError."""
        self._owner = owner
        self._order = order
        self._kind = kind
        self._half = f"{owner.folder}/.{order[0]}-{order[1]}.tmp"
        self._files: Dict[str, Dict[str, Any]] = {}
        self._pens: List[Pen] = []
        self._folders = {self._half}
        _make(owner)
        outputs.fresh(self._half)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for pen in self._pens:
            pen.close()
        if kind is not None:
            with contextlib.suppress(OSError):
                outputs.remove(self._half)

    def pen(self, name: str) -> Pen:
        """Begin a file; `keep` takes it into the checkpoint. Raises OSError."""
        path = f"{self._half}/{name}"
        folder = os.path.dirname(path)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        pen = Pen(path)
        self._pens.append(pen)
        return pen

    def keep(self, name: str, pen: Pen, **more: Any) -> None:
        """A file is complete; `more` stands with it in the manifest."""
        self._files[name] = {"name": name, "bytes": pen.size, "sha256": pen.finish(), **more}
        self._pens.remove(pen)

    def forget(self, name: str) -> None:
        """Do away with a file that was begun, to begin it again."""
        self._files.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._half}/{name}")

    def copy(self, source: str, name: str) -> None:
        """Take a file in as it is; its time and whether it is executable are kept too."""
        fd = os.open(source, _READ_FLAGS)
        try:
            found = os.fstat(fd)
            pen = self.pen(name)
            while True:
                data = os.read(fd, _PIECE_BYTES)
                if not data:
                    break
                pen.write(data)
        finally:
            os.close(fd)
        more: Dict[str, Any] = {"modified_ns": found.st_mtime_ns}
        if found.st_mode & stat.S_IXUSR:
            more["executable"] = True
        self.keep(name, pen, **more)

    def seal(self, **more: Any) -> Checkpoint:
        """Make it durable and give it its name; `more` stands in the manifest. Raises OSError."""
        files = list(self._files.values())
        manifest: Dict[str, Any] = {
            "format": FORMAT,
            "task": self._owner.task,
            "replica": self._owner.replica,
            "attempt": self._order[0],
            "sequence": self._order[1],
            "kind": self._kind,
            "saved_at": time.time(),
            "spoolmw": VERSION,
            "python": "%d.%d.%d" % sys.version_info[:3],
            **more,
            "files": files,
        }
        pen = self.pen(MANIFEST)
        pen.write(encoded(manifest))
        pen.finish()
        for folder in sorted(self._folders, reverse=True):
            _sync(folder)
        path = f"{self._owner.folder}/{self._order[0]}-{self._order[1]}"
        os.rename(self._half, path)
        _sync(self._owner.folder)
        return Checkpoint(path, self._order, manifest["saved_at"], _total(files), manifest)


def encoded(manifest: Dict[str, Any]) -> bytes:
    """A manifest as it stands in its file: one line of JSON whose last key is its own digest."""
    head = json.dumps(manifest, separators=(",", ":"))[:-1].encode()
    return b'%s%s%s"}\n' % (head, _OWN_DIGEST, hashlib.sha256(head).hexdigest().encode())


def orders(owner: Owner) -> List[Order]:
    """The names of a replica's checkpoints, the newest first; that there are none is no error."""
    found = (_NAME.fullmatch(name) for name in _listed(owner.folder))
    return sorted(((int(each[1]), int(each[2])) for each in found if each), reverse=True)


def newest(owner: Owner, kind: str, since: int = 0) -> Tuple[Optional[Checkpoint], List[str]]:
    """The newest whole checkpoint of an attempt from `since` on, and what is wrong with newer ones.

    A damaged one is set aside as `.ATTEMPT-SEQUENCE.damaged`: nobody tries it again, and it is
    none of the two that are kept.
    """
    notes: List[str] = []
    for order in orders(owner):
        if order[0] < since:
            break
        path = f"{owner.folder}/{order[0]}-{order[1]}"
        try:
            found = verify(path, owner)
            if found.manifest["kind"] != kind:
                raise Damaged(f"it is one of a {found.manifest['kind']}")
            return found, notes
        except Damaged as error:
            notes.append(f"checkpoint {order[0]}-{order[1]} is damaged: {error}")
            _set_aside(path)
    return None, notes


def verify(path: str, owner: Owner) -> Checkpoint:
    """The checkpoint at `path`, every byte of it checked. Raises Damaged."""
    manifest = read_manifest(path)
    if (manifest["task"], manifest["replica"]) != (owner.task, owner.replica):
        whose = f"task {manifest['task']}, replica {manifest['replica']}"
        raise Damaged(f"it belongs to {whose}")
    name = f"{manifest['attempt']}-{manifest['sequence']}"
    if name != os.path.basename(path):
        raise Damaged(f"its manifest says that it is {name}")
    for each in manifest["files"]:
        _check(path, each)
    order = (manifest["attempt"], manifest["sequence"])
    files = manifest["files"]
    return Checkpoint(path, order, float(manifest["saved_at"]), _total(files), manifest)


def read_manifest(path: str) -> Dict[str, Any]:
    """What a checkpoint says of itself; its files are not looked at. Raises Damaged."""
    try:
        fd = os.open(f"{path}/{MANIFEST}", _READ_FLAGS)
        with open(fd, "rb") as file:
            data = file.read(_MOST_MANIFEST_BYTES)
    except OSError as error:
        raise Damaged(f"its {MANIFEST} cannot be read: {error.strerror}") from error
    return parsed(data)


def parsed(data: bytes) -> Dict[str, Any]:
    """What stands in a manifest. Raises Damaged."""
    head, _, rest = data.rpartition(_OWN_DIGEST)
    if rest != hashlib.sha256(head).hexdigest().encode() + b'"}\n':
        raise Damaged(f"its {MANIFEST} was cut short or changed")
    try:
        manifest = json.loads(head + b"}")
    except ValueError as error:
        raise Damaged(f"its {MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        told = manifest.get("format") if isinstance(manifest, dict) else None
        raise Damaged(f"it has format {told}, this version of spoolmw knows {FORMAT}")
    missing = sorted(_KEYS - manifest.keys())
    if missing or not all(map(_is_entry, manifest["files"])):
        raise Damaged(f"its {MANIFEST} lacks {', '.join(missing) or 'names or digests'}")
    return manifest


def clean(owner: Owner) -> None:
    """Remove what was being written when an earlier attempt was killed."""
    for name in _listed(owner.folder):
        if name.startswith(".") and name.endswith(".tmp"):
            with contextlib.suppress(OSError):
                outputs.remove(f"{owner.folder}/{name}")


def _is_entry(each: Any) -> bool:
    """Whether this describes a file inside its checkpoint; an imported one may say anything."""
    if not isinstance(each, dict) or not {"name", "bytes", "sha256"} <= each.keys():
        return False
    name = each["name"]
    parts = name.split("/") if isinstance(name, str) else [""]
    return not any(part in ("", ".", "..") or "\0" in part for part in parts)


def _check(path: str, told: Dict[str, Any]) -> None:
    name = told["name"]
    try:
        inside = os.lstat(f"{path}/{name}")
        if not stat.S_ISREG(inside.st_mode):
            raise Damaged(f"{name} is no file")
        if inside.st_size != told["bytes"]:
            raise Damaged(f"{name} has {inside.st_size} bytes instead of {told['bytes']}")
        if results.digest_of(f"{path}/{name}")[1] != told["sha256"]:
            raise Damaged(f"{name} has another digest than the manifest says")
    except OSError as error:
        raise Damaged(f"{name} cannot be read: {error.strerror}") from error


def _set_aside(path: str) -> None:
    folder, name = os.path.split(path)
    aside = f"{folder}/.{name}.damaged"
    with contextlib.suppress(OSError):  # then it is found damaged again next time
        outputs.remove(aside)
        os.rename(path, aside)


def _make(owner: Owner) -> None:
    """The replica's folder, and that its name is durable."""
    missing = []
    folder = owner.folder
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each)
        _sync(os.path.dirname(each))


def _listed(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _total(files: List[Dict[str, Any]]) -> int:
    return sum(int(each["bytes"]) for each in files)
