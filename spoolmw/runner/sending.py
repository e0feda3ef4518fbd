"""What a keeper has to say to its client: in order, and no faster than it is taken.

Rule 1: nothing waits in memory but heads and names; bodies are read when their turn comes.
Rule 2: of a checkpoint and of a report's files nothing is announced that is not there; what
turns out to be shorter ends the connection, since the stream cannot be mended.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from typing import (
    Any,
    Deque,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from . import checkpoint, outputs, wire
from .hostfolder import ATTEMPT, HostFolder
from .shelf import Entry, Shelf

_UNSENT_BYTES = 1 << 20  #: so much may wait in memory
_PIECE_BYTES = 256 << 10
_MOST_TOGETHER = 256  #: reports in one frame
_MOST_BODIES_BYTES = 512 << 10  #: of these
_MOST_NEWS = 2000  #: that wait; then what comes again anyway is left out
_TAIL_BYTES = 64 << 10
_STREAMS = {"stdout": "out", "stderr": "err"}
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Saved(NamedTuple):
    """A checkpoint on its way home."""

    attempt: str
    told: Dict[str, Any]  #: attempt, sequence, bytes, saved_at
    owner: checkpoint.Owner

    @property
    def path(self) -> str:
        number = self.attempt.rpartition(".")[2]
        return f"{self.owner.folder}/{number}-{self.told['sequence']}"


Item = Union[bytes, Entry, Saved]


class Sending:
    """The queue of one connection."""

    def __init__(self, stream: wire.Stream, shelf: Shelf, folder: HostFolder) -> None:
        self._stream = stream
        self._shelf = shelf
        self._folder = folder
        self._queue: Deque[Item] = deque()
        self._parts: Optional[Iterator[bytes]] = None
        self.busy_with = ""  #: the checkpoint that is being sent: it must stay

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not self._queue and self._parts is None and not self._stream.unsent

    def at_once(self, tree: Dict[str, Any]) -> None:
        """Say something that may stand between the bytes of something else."""
        self._stream.send(wire.json_frame(tree))

    def say(self, tree: Dict[str, Any], *, spare: bool = False) -> None:
        """Say something in its turn; `spare`: it may be left out when much waits."""
        if not (spare and len(self._queue) > _MOST_NEWS):
            self._queue.append(wire.json_frame(tree))

    def forward(self, payload: bytes, *, spare: bool = False) -> None:
        """Pass on what the runner said."""
        if not (spare and len(self._queue) > _MOST_NEWS):
            self._queue.append(wire.frame(payload))

    def add(self, item: Item) -> None:
        """A report or a checkpoint is to be told."""
        if isinstance(item, Saved):  # an older one of the same attempt need not travel any more
            kept = [each for each in self._queue if not _is_older(each, item)]
            if len(kept) < len(self._queue):
                self._queue = deque(kept)
        self._queue.append(item)

    def tail(self, told: Dict[str, Any], slot: str) -> None:
        """Answer what an attempt printed, before all else that waits."""
        data = self._printed(
            str(told["attempt"]), str(told["stream"]), int(told["offset"]), slot
        )
        head = {"event": "tail", "ask": told["ask"], "bytes": len(data)}
        self._queue.appendleft(
            wire.json_frame(head) + (wire.frame(data, wire.BYTES) if data else b"")
        )

    def _printed(self, attempt: str, stream: str, offset: int, slot: str) -> bytes:
        if not ATTEMPT.fullmatch(attempt) or stream not in _STREAMS:
            raise wire.WireError(f"tail of {stream[:20]!r} of {attempt[:100]!r}")
        paths = [f"stage/{attempt}.files/{stream}"]
        if slot:
            paths.append(f"tmp/output/{slot}.{_STREAMS[stream]}")
        for path in paths:
            with contextlib.suppress(OSError), open(self._folder.path(path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Offsets come from outside: one far beyond the end cannot be sought.
                file.seek(max(0, size + offset) if offset < 0 else min(offset, size))
                return file.read(_TAIL_BYTES)
        return b""

    def pump(self) -> None:
        """Send as much as the stream takes. Raises Closed."""
        while self._stream.waiting < _UNSENT_BYTES:
            if self._parts is None:
                if not self._queue:
                    break
                self._parts = self._begin(self._queue.popleft())
            part = next(self._parts, None)
            if part is None:
                self._parts = None
                self.busy_with = ""
            elif not part:
                break  # it takes its time: let others have their turn
            else:
                self._stream.send(part)
        self._stream.flush()

    # -- what the items are as frames

    def _begin(self, item: Item) -> Iterator[bytes]:
        if isinstance(item, bytes):
            return iter((item,))
        if isinstance(item, Saved):
            return self._checkpoint(item)
        entry = self._shelf.get(item.attempt)
        if entry is None:
            return iter(())  # released or stopped meanwhile
        if entry.is_small:
            return self._together(entry)
        return self._large(entry)

    def _together(self, first: Entry) -> Iterator[bytes]:
        """Small reports that stand one behind the other, in one frame."""
        entries = [first]
        size = first.body_bytes
        while self._queue and len(entries) < _MOST_TOGETHER and size < _MOST_BODIES_BYTES:
            following = self._queue[0]
            if not isinstance(following, Entry):
                break
            entry = self._shelf.get(following.attempt)
            if entry is not None and not entry.is_small:
                break
            self._queue.popleft()
            if entry is not None:
                entries.append(entry)
                size += entry.body_bytes
        try:
            bodies = b"".join([self._shelf.body(each) for each in entries])
        except OSError as error:
            raise wire.Closed(f"reports cannot be read: {error.strerror}") from error
        if len(bodies) != size:
            raise wire.Closed("reports are not whole any more")
        yield _ended([each.raw for each in entries], size) + (
            wire.frame(bodies, wire.BYTES) if bodies else b""
        )

    def _large(self, entry: Entry) -> Iterator[bytes]:
        """A report with a large body, or with files; if these cannot be had, the loss."""
        yield from self._looked_at(entry)
        found = self._found(entry) if entry.files else []
        head, why = _announced({"event": "files", "attempt": entry.attempt}, found)
        if why and self._shelf.get(entry.attempt) is entry:
            text = f"its output files cannot be sent: {why}"
            self._shelf.break_(entry, text, counts=True)
        now = self._shelf.get(entry.attempt)
        if now is not entry:
            if now is not None:
                yield _ended([now.raw], 0)
            return
        if entry.files:
            yield head
        for name, _, size in found:
            path = self._folder.path(f"stage/{entry.attempt}.files/{name}")
            yield from _bytes_of(path, size)
        yield _ended([entry.raw], entry.body_bytes)
        yield from _bytes_of(self._folder.path(f"stage/{entry.attempt}"), entry.body_bytes)

    def _looked_at(self, entry: Entry) -> Iterator[bytes]:
        """Is its body there, and whole? Else it is a loss afterwards."""
        if entry.body_bytes and not entry.sure:
            for _ in self._shelf.check(entry):
                yield b""
        if entry.body_bytes and entry.sure and not self._shelf.is_there(entry):
            self._shelf.break_(entry, "its result is gone from the host")

    def _found(self, entry: Entry) -> List[Tuple[str, int, int]]:
        """Name, mode and bytes of each of its files."""
        folder = self._folder.path(f"stage/{entry.attempt}.files")
        found: List[Tuple[str, int, int]] = []
        for name in sorted(outputs.regular_files(folder)):
            try:
                look = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            found.append((name, look.st_mode & 0o777, look.st_size))
        return found

    def _checkpoint(self, saved: Saved) -> Iterator[bytes]:
        try:
            manifest = checkpoint.read_manifest(saved.path)
            size = os.stat(f"{saved.path}/{checkpoint.MANIFEST}").st_size
        except (checkpoint.Damaged, OSError):
            return  # a newer one took its place
        files = [(each["name"], each["bytes"]) for each in manifest["files"]]
        files.append((checkpoint.MANIFEST, size))
        head, why = _announced({"event": "checkpointed", "attempts": [saved.told]}, files)
        if why or not _are_whole(saved.path, files):
            return  # it stays here, for an attempt that comes here again
        self.busy_with = saved.path
        yield head
        for name, count in files:
            yield from _bytes_of(f"{saved.path}/{name}", count)


def _are_whole(folder: str, files: Sequence[Tuple[str, int]]) -> bool:
    """Whether files are as long as is said: nobody shall be cut off for what a disk has lost."""
    try:
        return all(os.lstat(f"{folder}/{name}").st_size == size for name, size in files)
    except OSError:
        return False


def _is_older(item: Item, than: Saved) -> bool:
    return isinstance(item, Saved) and item.attempt == than.attempt


def _ended(reports: List[bytes], size: int) -> bytes:
    head = b'{"event":"ended","attempts":[%s],"bytes":%d}'
    return wire.frame(head % (b",".join(reports), size))


def _announced(tree: Dict[str, Any], files: Sequence[Tuple[Any, ...]]) -> Tuple[bytes, str]:
    """A frame that announces files, and why they cannot travel (empty: they can).

    The names arrive as they are, also those that are not UTF-8.
    """
    told = {**tree, "files": files, "bytes": sum(each[-1] for each in files)}
    why = outputs.cannot_travel([each[0] for each in files])
    try:
        return b"" if why else wire.frame(json.dumps(told, separators=(",", ":")).encode()), why
    except wire.WireError as error:
        return b"", f"their names make {error}"


def _bytes_of(path: str, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes of a file, as frames."""
    if not size:
        return
    try:
        fd = os.open(path, _FLAGS)
        try:
            while size:
                data = os.read(fd, min(size, _PIECE_BYTES))
                if not data:
                    raise wire.Closed(f"{path} became shorter")
                size -= len(data)
                yield wire.frame(data, wire.BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise wire.Closed(f"{path}: {error.strerror}") from error
