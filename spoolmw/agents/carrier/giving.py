"""Gives a host what its attempts need: task files, inputs, values, checkpoints, each once.

Rule: everything that an attempt needs goes before the order to launch it, on the same stream.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from spoolmw.agents.carrier.book import Book, Given
from spoolmw.runner import checkpoint, reading, wire

Send = Callable[[bytes], None]

_TOGETHER_BYTES = 1 << 20  #: of small files in one frame
_SMALL_BYTES = 64 << 10
_PIECE_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Giver:
    """What one connection's host has been sent, and what it still needs."""

    def __init__(self, root: str, book: Book, send: Send) -> None:
        self._root = root
        self._book = book
        self._send = send
        self._small: list[tuple[str, bytes]] = []
        self._small_bytes = 0
        self.inputs: set[str] = set()  #: digests that the host has
        self._values: set[str] = set()
        self._checkpoints: set[str] = set()  #: of replicas: TASK/REPLICA

    def launch(self, work: list[Any]) -> list[dict[str, Any]]:
        """Send all that these need, and the order; returns reports of those that cannot start."""
        hopeless: dict[str, dict[str, Any]] = {}
        needs: dict[str, list[str]] = {}
        for given in self._book.enter(work):
            try:
                wanted = self._prepare(given)
                if wanted:
                    needs[given.attempt] = wanted
            except (OSError, reading.Damaged) as error:
                text = error.strerror if isinstance(error, OSError) else str(error)
                hopeless[given.attempt] = unlaunched(given, f"its file cannot be read: {text}")
        self._flush()
        if hopeless:
            work = [
                [kind, [each for each in packets if each.partition("\n")[0] not in hopeless]]
                for kind, packets in work
            ]
        if any(packets for _, packets in work):
            told: dict[str, Any] = {"do": "launch", "work": work}
            self._send(wire.json_frame({**told, "needs": needs} if needs else told))
        return list(hopeless.values())

    def forget(self, place: str) -> None:
        """The host has not, or has not any more, what was put there: it goes again when needed."""
        folder, _, name = place.partition("/")
        if folder == "active":
            self._book.file_is_gone(place)
        {"inputs": self.inputs, "values": self._values}.get(folder, set()).discard(name)

    def saved(self, task: str, replica: str) -> None:
        """The host has checkpoints of this replica."""
        self._checkpoints.add(f"{task}/{replica}")

    def unused(self) -> dict[str, list[str]]:
        """What the host has and the spool has not any more; it is forgotten here."""
        found: dict[str, list[str]] = {}
        # A copy: the thread that hears adds to these meanwhile.
        for place, have in (
            ("inputs", self.inputs),
            ("values", self._values),
            ("checkpoints", self._checkpoints),
        ):
            gone = [
                each
                for each in list(have)
                if not os.path.exists(f"{self._root}/{place}/{each}")
            ]
            have.difference_update(gone)
            if gone:
                found[place] = gone
        return found

    # -- one attempt

    def _prepare(self, given: Given) -> list[str]:
        """Send what an attempt needs; returns the places besides its task's file."""
        if self._book.places(given):
            self._file(given.path)
        needs = self._take_along(given)
        task, replica, _ = given.attempt.split(".")
        if os.path.isdir(f"{self._root}/checkpoints/{task}/{replica}"):
            self._checkpoint(
                given, checkpoint.Owner(f"{self._root}/checkpoints", task, int(replica))
            )
        return needs

    def _take_along(self, given: Given) -> list[str]:
        """Inputs and values of predecessors, as the task's header names them."""
        needs: list[str] = []
        header = interesting(f"{self._root}/{given.path}")
        for each in (header.get("files") or {}).get("inputs") or ():
            digest = each["sha256"]
            needs.append(f"inputs/{digest}")
            if digest not in self.inputs:
                self._large(f"inputs/{digest}", sha256=digest)
                self.inputs.add(digest)
        for each in header.get("takes") or ():
            needs.append(f"values/{each}")
            if each not in self._values:
                self._file(f"values/{each}")
                self._values.add(each)
        return needs

    def _checkpoint(self, given: Given, owner: checkpoint.Owner) -> None:
        """The newest whole one that counts; the manifest last."""
        kind = "command" if given.kind.get("command") else "call"
        found, _ = checkpoint.newest(owner, kind, given.kind.get("since", 0))
        if found is None:
            return
        place = f"checkpoints/{owner.task}/{owner.replica}/{found.name}"
        for each in found.manifest["files"]:
            self._large(f"{place}/{each['name']}", sha256=each["sha256"])
        self._large(f"{place}/{checkpoint.MANIFEST}")
        self.saved(owner.task, str(owner.replica))

    # -- bytes

    def _file(self, name: str) -> None:
        """A file that may be small: those are gathered."""
        fd = os.open(f"{self._root}/{name}", _FLAGS)
        with open(fd, "rb", buffering=0) as file:
            size = os.fstat(fd).st_size
            if size > _SMALL_BYTES:
                self._stream(file, name, size)
                return
            data = file.read(size + 1)
        self._small.append((name, data))
        self._small_bytes += len(data)
        if self._small_bytes > _TOGETHER_BYTES:
            self._flush()

    def _large(self, name: str, *, sha256: str = "") -> None:
        fd = os.open(f"{self._root}/{name}", _FLAGS)
        with open(fd, "rb", buffering=0) as file:
            self._stream(file, name, os.fstat(fd).st_size, sha256)

    def _stream(self, file: Any, name: str, size: int, sha256: str = "") -> None:
        told: dict[str, Any] = {"do": "put", "place": name, "bytes": size}
        if sha256:
            told["sha256"] = sha256
        self._flush()
        self._send(wire.frame(json.dumps(told, separators=(",", ":")).encode()))
        while size:
            data = file.read(min(size, _PIECE_BYTES))
            if not data:
                # It became shorter: the stream cannot be mended, so the rest is zeros, which
                # have another digest.
                data = bytes(min(size, _PIECE_BYTES))
            size -= len(data)
            self._send(wire.frame(data, wire.BYTES))

    def _flush(self) -> None:
        if not self._small:
            return
        files = [[name, len(data)] for name, data in self._small]
        told = {"do": "puts", "files": files, "bytes": self._small_bytes}
        data = b"".join(data for _, data in self._small)
        self._small.clear()
        self._small_bytes = 0
        head = wire.frame(json.dumps(told, separators=(",", ":")).encode())
        self._send(head + (wire.frame(data, wire.BYTES) if data else b""))


def forgotten(send: Send, found: dict[str, list[str]]) -> None:
    """Have the host drop what is not needed any more."""
    if found:
        send(wire.json_frame({"do": "drop", **found}))


def interesting(path: str) -> dict[str, Any]:
    """A task's header when it names files of others; most do not, and are not parsed."""
    fd = os.open(path, _FLAGS)
    try:
        data, end = reading.begin(fd)
    finally:
        os.close(fd)
    head = data[: max(end, 0)]
    if b'"inputs"' not in head and b'"takes"' not in head:
        return {}
    return reading.header_in(data, end)


def unlaunched(given: Given, why: str) -> dict[str, Any]:
    """The report of an attempt whose files are not there: that is no host's fault."""
    now = time.time()
    return {
        "attempt": given.attempt,
        "token": given.token,
        "started": now,
        "ended": now,
        "cpu_s": 0.0,
        "memory_bytes": 0,
        "outcome": "lost",
        "cause": "launch",
        "blame": "agent",
        "message": why,
        "counts": False,
    }
