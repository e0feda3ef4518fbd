"""Small files of tasks that came together lie together: one file of the disk for hundreds.

Making and removing a file costs more than running a short task. A file goes when none of the
places in it is needed any more. What is in one is read at `PATH SEPARATOR OFFSET` (`reading`).
"""

from __future__ import annotations

import contextlib
import os
from typing import Dict, Iterator, List, Sequence, Set, Tuple

from .hostfolder import HostFolder
from .reading import SEPARATOR

MOST_BYTES = 64 << 10  #: of a file that is packed with others
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class Pack:
    """One file with many in it."""

    def __init__(self, path: str) -> None:
        self.path = path  #: relative to the folder
        self.places = 0  #: in it that are needed


class Packs:
    """Which place lies where."""

    def __init__(self, folder: HostFolder) -> None:
        self._folder = folder
        self._made = 0
        self._at: Dict[str, Tuple[Pack, int, int]] = {}
        self._replaced: Dict[str, List[Pack]] = {}
        self._files: Set[str] = set()  #: places that are files of their own too

    def __contains__(self, place: object) -> bool:
        return place in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._at))

    def add(self, files: Sequence[Tuple[str, bytes]]) -> None:
        """Write these together. Raises OSError, and nothing of them is there then."""
        self._made += 1
        pack = Pack(f"packs/{self._made}")
        path = self._folder.path(pack.path)
        try:
            fd = os.open(path, _FLAGS, 0o600)
            try:
                view = memoryview(b"".join([data for _, data in files]))
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        offset = 0
        for place, data in files:
            self._retire(place)
            self._at[place] = (pack, offset, len(data))
            offset += len(data)
        pack.places = len(files)

    def is_file(self, place: str) -> None:
        """From now on it is a file of its own."""
        self._files.add(place)
        self._retire(place)

    def _retire(self, place: str) -> None:
        """Something newer comes there: attempts that were given the old one keep it until `remove`."""
        if place in self._at:
            self._replaced.setdefault(place, []).append(self._at.pop(place)[0])

    def path_of(self, place: str) -> str:
        """What a worker is told to read, relative to the folder."""
        if place not in self._at:
            return place
        pack, offset, _ = self._at[place]
        return f"{pack.path}{SEPARATOR}{offset}"

    def unpack(self, place: str) -> None:
        """Make it a file of its own, for who must have one. Raises OSError."""
        if place not in self._at:
            return
        pack, offset, size = self._at[place]
        with open(self._folder.path(pack.path), "rb") as file:
            file.seek(offset)
            data = file.read(size)
        path = self._folder.path(place)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        self.is_file(place)

    def remove(self, place: str) -> None:
        """Nobody needs it any more, wherever it lies."""
        packs = self._replaced.pop(place, [])
        if place in self._at:
            packs.append(self._at.pop(place)[0])
        for pack in packs:
            self._let_go(pack)
        if place in self._files or not packs:
            self._files.discard(place)
            with contextlib.suppress(OSError):
                os.unlink(self._folder.path(place))

    def _let_go(self, pack: Pack) -> None:
        pack.places -= 1
        if not pack.places:
            with contextlib.suppress(OSError):
                os.unlink(self._folder.path(pack.path))
