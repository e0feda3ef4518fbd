"""Reports of attempts that ended, kept on the host until their release.

They are written into the newest of a few logs in `outbox/`, with the result's body when that is
small (the smallest come inside their reports; a large one stays in `stage/`). A log goes when
all in it were released.

Rule 1: a report is in its log before anybody is told of it, so it survives the keeper.
Rule 2: it is made durable within SYNC_S, so it survives the host; what was released by then
costs no sync. Who was told before has the body too, or will hear of a loss.
Rule 3: nothing damaged is told: what a power cut left in part counts as never ended.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import json
import os
from collections import OrderedDict
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from . import keptlog, outputs, results, wire
from .hostfolder import HostFolder
from .keptlog import Log, Logs

SYNC_S = 0.5  #: at most so long a report is not durable
_STEP_BYTES = 8 << 20
SMALL_BYTES = 64 << 10  #: a body up to this length is kept in the log


class Entry:
    """One report that was not released yet."""

    __slots__ = (
        "attempt", "body_bytes", "digest", "files", "is_enclosed", "log", "memory", "offset",
        "outcome", "raw", "sure",
    )  # fmt: skip

    def __init__(self, report: Dict[str, Any], raw: bytes) -> None:
        self.attempt: str = report["attempt"]
        self.raw = raw
        self.outcome: str = report["outcome"]
        self.body_bytes: int = report.get("body_bytes", 0)
        self.digest: str = report.get("digest", "")
        self.files: bool = report.get("files", False)
        self.log: Optional[Log] = None
        self.offset = -1  #: of the body in the log; -1: it lies in `stage/`
        self.is_enclosed = False  #: the body came with the report, and never was in `stage/`
        self.memory: Optional[bytes] = None  #: the body, where the disk had no room for it
        self.sure = True  #: the body was not written before the machine went down

    @property
    def is_small(self) -> bool:
        """Whether it may be told together with others."""
        in_reach = self.offset >= 0 or self.memory is not None or not self.body_bytes
        return in_reach and not self.files


class Shelf:
    """All reports that wait for release, in the order in which the attempts ended."""

    def __init__(self, folder: HostFolder, *, rebooted: bool) -> None:
        self._folder = folder
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._to_sync: List[str] = []
        self.is_dirty = False  #: something waits to be made durable
        self._logs = Logs(folder)
        for log in self._logs.all:
            self._load(log, rebooted=rebooted)
        self._logs.clean()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._entries

    def get(self, attempt: str) -> Optional[Entry]:
        return self._entries.get(attempt)

    def attempts(self) -> List[str]:
        return list(self._entries)

    def staged(self) -> List[str]:
        """Those whose result lies in `stage/`; of all others nothing has to."""
        return [name for name, entry in self._entries.items() if not entry.is_small]

    # -- keeping

    def keep(self, reports: Iterable[Dict[str, Any]]) -> List[Entry]:
        """Keep these reports; one whose result is not what it says becomes a loss."""
        made: List[Tuple[Entry, Optional[bytes]]] = []
        pieces: List[bytes] = []
        log = self._logs.newest()
        at = log.size if log else 0
        for report in reports:
            entry, body = self._entry(report)
            record = wire.frame(b'{"kept":%s}' % entry.raw)
            if body is not None:
                entry.offset = at + len(record) + keptlog.HEAD_BYTES
                record += wire.frame(body, wire.BYTES)
            pieces.append(record)
            at += len(record)
            made.append((entry, body))
        self.is_dirty = True
        if not self._logs.append(log, b"".join(pieces)):
            log = None
        for entry, body in made:
            self._settle(entry, body, is_kept=log is not None)
            self._remember(entry, log)
        return [entry for entry, _ in made]

    def _settle(self, entry: Entry, body: Optional[bytes], *, is_kept: bool) -> None:
        """Its body is in the log now; on a full disk it is told from where it is."""
        if not is_kept:
            entry.offset = -1
            entry.memory = body if entry.is_enclosed else None
        elif body is not None and not entry.is_enclosed:
            with contextlib.suppress(OSError):
                os.unlink(self._staged(entry.attempt))

    def _entry(self, report: Dict[str, Any]) -> Tuple[Entry, Optional[bytes]]:
        """The entry of a report, and the body that is kept with it."""
        if "body" in report:
            return self._enclosed(report)
        entry = Entry(report, wire.encode(report))
        path = self._staged(entry.attempt)
        if not entry.body_bytes:
            if not entry.files:  # whoever staged something did not live to report it
                self.remove_staged(entry.attempt)
            return entry, None
        if entry.body_bytes > SMALL_BYTES or entry.files:
            self._to_sync.append(entry.attempt)
            return entry, None
        try:
            with open(path, "rb", buffering=0) as file:
                body = file.read(SMALL_BYTES + 1)
        except OSError as error:
            return self._lost(report, f"its result cannot be read: {error.strerror}"), None
        if len(body) != entry.body_bytes:
            return self._lost(report, "its result is not whole"), None
        return entry, body

    def _enclosed(self, report: Dict[str, Any]) -> Tuple[Entry, Optional[bytes]]:
        body = binascii.a2b_base64(report.pop("body"))
        entry = Entry(report, wire.encode(report))
        entry.is_enclosed = True
        return entry, body

    def _lost(self, report: Dict[str, Any], message: str, *, counts: bool = False) -> Entry:
        self.remove_staged(report["attempt"])
        told = loss(report, "connection", message, counts=counts)
        return Entry(told, wire.encode(told))

    def _remember(self, entry: Entry, log: Optional[Log]) -> None:
        self._entries[entry.attempt] = entry
        entry.log = log
        if log is not None:
            log.live += 1

    def break_(self, entry: Entry, message: str, *, counts: bool = False) -> Entry:
        """The body of an entry is gone or cannot be told: from now on it is a loss."""
        lost = self._lost(json.loads(entry.raw), message, counts=counts)
        lost.log = entry.log
        self._entries[entry.attempt] = lost
        return lost

    # -- reading

    def body(self, entry: Entry) -> bytes:
        """The body of a small entry; raises OSError."""
        if entry.memory is not None:
            return entry.memory
        if not entry.body_bytes or entry.log is None:
            return b""
        return os.pread(entry.log.fd, entry.body_bytes, entry.offset)

    def is_there(self, entry: Entry) -> bool:
        """Whether a body in `stage/` is as long as it was."""
        try:
            return os.stat(self._staged(entry.attempt)).st_size == entry.body_bytes
        except OSError:
            return False

    def check(self, entry: Entry) -> Iterator[None]:
        """Read a body in `stage/` through, where a reboot may have cut it; a damaged one is a loss.

        In steps: it may be long, and somebody else may want something meanwhile.
        """
        digest = hashlib.sha256()
        with contextlib.suppress(OSError), open(self._staged(entry.attempt), "rb") as file:
            while True:
                data = file.read(_STEP_BYTES)
                if not data:
                    break
                digest.update(data)
                yield
        entry.sure = digest.hexdigest() == entry.digest
        if not entry.sure:
            self.break_(entry, "its result was damaged when the host went down")

    # -- releasing

    def release(self, attempts: Iterable[str]) -> None:
        """These reports are committed at home: they may go, with all that belongs to them."""
        for attempt in attempts:
            entry = self._entries.pop(attempt, None)
            if entry is None:
                continue
            if not entry.is_small:
                self.remove_staged(attempt)
            if entry.log is not None:
                self._logs.release(attempt, entry.log)
            self.is_dirty = True

    def remove_staged(self, attempt: str) -> None:
        """What an attempt left in `stage/`."""
        path = self._staged(attempt)
        with contextlib.suppress(OSError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            outputs.remove(f"{path}.files")

    def _staged(self, attempt: str) -> str:
        return self._folder.path(f"stage/{attempt}")

    # -- durability

    def sync(self) -> None:
        """Begin to make durable what is kept."""
        if self._logs.is_syncing:
            return
        self.is_dirty = False
        waiting, self._to_sync = self._to_sync, []
        self._logs.sync([self._staged(each) for each in waiting if each in self._entries])

    def close(self) -> None:
        """Make all durable and close it."""
        self._logs.wait()
        self.sync()
        self._logs.close()

    # -- loading

    def _load(self, log: Log, *, rebooted: bool) -> None:
        """Take up a log of an earlier keeper, as far as it is whole."""
        with open(log.path, "rb") as file:
            data = file.read()
        for kind, start, end in keptlog.frames(data):
            log.size = end
            if kind == wire.BYTES:
                continue
            told = keptlog.told(data[start:end])
            if told is None:
                break
            if "kept" in told:
                self._take_up(told["kept"], log, (data, end), rebooted=rebooted)
            self._drop(told.get("gone", ()))
        with contextlib.suppress(OSError):
            os.ftruncate(log.fd, log.size)

    def _drop(self, attempts: Iterable[str]) -> None:
        """These were released before."""
        for attempt in attempts:
            entry = self._entries.pop(attempt, None)
            if entry is not None and entry.log is not None:
                entry.log.live -= 1
                entry.log.released.append(attempt)

    def _take_up(
        self, report: Dict[str, Any], log: Log, where: Tuple[bytes, int], *, rebooted: bool
    ) -> None:
        data, end = where
        entry = Entry(report, wire.encode(report))
        if 0 < entry.body_bytes <= SMALL_BYTES and not entry.files:
            entry.offset = end + keptlog.HEAD_BYTES
            body = data[entry.offset : entry.offset + entry.body_bytes]
            if hashlib.sha256(body).hexdigest() != entry.digest:
                return
        elif entry.body_bytes:
            entry.sure = not rebooted
            if not self.is_there(entry):
                return
        self._remember(entry, log)


def loss(
    report: Dict[str, Any], cause: str, message: str, *, counts: bool = False
) -> Dict[str, Any]:
    """What is told of an attempt whose result cannot be had, through this host's fault."""
    ended = results.lost(cause, message, counts=counts)
    times = (report["started"], report["ended"])
    told = results.report(report["attempt"], report["token"], ended, times)
    return {**told, "slot": report.get("slot", "")}
