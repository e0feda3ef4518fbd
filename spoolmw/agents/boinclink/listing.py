"""What a client downloads for an attempt: names, lengths and digests of files that lie in the spool.

Nothing is copied: a file is served from its place. Its name for clients tells its content, which
never changes, so a host fetches what many jobs share once.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spoolmw.agents.batch import packing
from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.carrier.book import Given
from spoolmw.runner import reading, sandbox

CONTENT, ORDER = "c_", "order_"  #: how names of files begin
_ORDER = re.compile(r"order_([0-9a-f]{32}\.\d{1,9}\.\d{1,9})_([0-9a-f]{32})", re.ASCII)
COPIED_BYTES = 1 << 20  #: a larger file gets no copy in the slot folder, but a soft link
_MOST_KNOWN = 1 << 16  #: digests
_PIECE_BYTES = 1 << 20
_ROOM_BYTES = 192 << 20  #: a parcel may have, beside what the task's limit allows twice
#: Of the kind, what is for us, not for the runner.
_OURS = frozenset({"avoid", "distinct", "taken", "platform"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A file that clients may ask for."""

    name: str  #: as they do
    open_name: str  #: in the slot folder
    path: str  #: relative to the spool; "": it is the order
    nbytes: int
    md5: str

    @property
    def is_copied(self) -> bool:
        return self.nbytes < COPIED_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An attempt that can be sent."""

    order: bytes
    files: tuple[Served, ...]  #: the order is the first
    most_bytes: int  #: that may come back

    @property
    def size_bytes(self) -> int:
        return sum(each.nbytes for each in self.files)

    def told(self) -> dict[str, Any]:
        """As JSON; `of` reads it."""
        files = [[e.name, e.open_name, e.path, e.nbytes, e.md5] for e in self.files]
        return {"files": files, "most": self.most_bytes}

    @staticmethod
    def of(told: Mapping[str, Any], order: bytes) -> Listed:
        return Listed(
            order=order,
            files=tuple(
                Served(name=name, open_name=open_name, path=path, nbytes=nbytes, md5=md5)
                for name, open_name, path, nbytes, md5 in told["files"]
            ),
            most_bytes=told["most"],
        )


class Sums(NamedTuple):
    """Length and digests of a file."""

    nbytes: int
    sha256: str
    md5: str


class Digests:
    """Digests of files, each read once for as long as it stays what it was. For several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int, int], Sums] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: str) -> Sums:
        """Raises OSError."""
        found = os.stat(path)
        key = (path, found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        sums = _read(path)
        with self._lock:
            self._known[key] = sums
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return sums


class Lister:
    """Lists what attempts of one agent need. Its methods read the disk; any thread may call them."""

    def __init__(self, brief: Brief, secret: bytes) -> None:
        self._root = brief.root
        self._secret = secret
        self._digests = Digests()
        setup = dict(brief.setup)
        self._manner = packing.Manner(
            agent=brief.name,
            env=setup.pop("env", {}),
            umask=setup.pop("umask", 0o022),
            interpreters=setup.pop("interpreters", ()),
            setup=setup,
            inherit=(),
        )

    def list_up(self, given: Given, packet: str) -> Listed:
        """Raises AgentError."""
        try:
            come, files = self._gather(given)
        except (OSError, reading.Damaged) as error:
            raise packing.cannot_be_made(given.attempt, self._root, error) from error
        kind = {key: value for key, value in given.kind.items() if key not in _OURS}
        order = packing.order_of(self._manner, kind, packet, come)
        told = Served(
            name=order_name(self._secret, given.attempt, given.token),
            open_name=sandbox.ORDER,
            path="",
            nbytes=len(order),
            md5=_md5(order).hexdigest(),
        )
        most = 2 * given.output_bytes + _ROOM_BYTES
        return Listed(order=order, files=(told, *files), most_bytes=most)

    def _gather(self, given: Given) -> tuple[list[sandbox.Come], list[Served]]:
        come: list[sandbox.Come] = []
        files: dict[str, Served] = {}
        for each in packing.needs(self._root, given.path):
            sums = self._digests.of(f"{self._root}/{each.place}")
            if each.digest and each.digest != sums.sha256:
                raise reading.Damaged(f"{each.place} has another content than its name says")
            name = f"{CONTENT}{sums.sha256}"
            served = files.setdefault(
                name,
                Served(
                    name=name,
                    open_name=each.name,
                    path=each.place,
                    nbytes=sums.nbytes,
                    md5=sums.md5,
                ),
            )
            come.append(sandbox.Come(each.place, served.open_name, sums.nbytes, sums.sha256))
        return come, list(files.values())


def order_name(secret: bytes, attempt: str, token: str) -> str:
    """What clients call the order of an attempt: nobody can guess it."""
    mark = hashlib.blake2b(f"{attempt} {token}".encode(), key=secret[:64], digest_size=16)
    return f"{ORDER}{attempt}_{mark.hexdigest()}"


def attempt_of(name: str) -> str:
    """The attempt of which `name` may be the order; "": it is none."""
    found = _ORDER.fullmatch(name)
    return found[1] if found else ""


def _read(path: str) -> Sums:
    sha256, md5 = hashlib.sha256(), _md5()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_PIECE_BYTES):
            size += len(data)
            sha256.update(data)
            md5.update(data)
    return Sums(size, sha256.hexdigest(), md5.hexdigest())


def _md5(data: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(data, usedforsecurity=False)  # it is all that clients know
