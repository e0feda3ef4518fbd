"""Opens files inside a folder that somebody filled whom nobody trusts.

Rule: no part of a path is a link, and what is opened is a regular file, of a length that was
looked at on the open file; a FIFO does not hold anybody up.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from spoolmw.agents.carrier import taking
from spoolmw.agents.carrier.claims import Garbage

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE_BYTES = 1 << 20
#: What files meet of which one is named as the folder of another.
IN_EACH_OTHERS_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)


class Inside:
    """A folder that is held open: nobody can put another in its place."""

    def __init__(self, path: Path) -> None:
        """Raises Garbage when there is no such folder."""
        self._name = path.name
        try:
            self._fd = os.open(path, _FOLDER)
        except OSError as error:
            raise Garbage(f"{self._name}/ cannot be read: {error.strerror}") from None

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def names(self, folder: str = "", *, most: int) -> list[str]:
        """What lies in it, or in a folder below; raises Garbage when it is more than `most`."""
        found: list[str] = []
        with self._folder(folder.split("/") if folder else []) as fd, os.scandir(fd) as entries:
            for entry in entries:
                if len(found) == most:
                    raise Garbage(f"{self._name}/{folder} has more than {most} entries")
                found.append(entry.name)
        return sorted(found)

    def folders(self, folder: str = "", *, most: int) -> list[str]:
        """The folders among them."""
        found: list[str] = []
        for name in self.names(folder, most=most):
            path = f"{folder}/{name}" if folder else name
            try:
                with self._folder(path.split("/")):
                    found.append(name)
            except Garbage:
                continue
        return found

    @contextmanager
    def file(self, name: str, *, most: int) -> Iterator[FileIO]:
        """A file of at most so many bytes; `name` may lie in folders below. Raises Garbage."""
        *above, last = name.split("/")
        with self._folder(above) as folder:
            try:
                fd = os.open(last, _FILE, dir_fd=folder)
            except OSError as error:
                raise Garbage(f"{name[:80]!a} cannot be read: {error.strerror}") from None
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise Garbage(f"{name[:80]!a} is no file")
                if found.st_size > most:
                    raise Garbage(f"{name[:80]!a} has {found.st_size} bytes, at most {most}")
                with FileIO(fd, closefd=False) as file:
                    yield file
            finally:
                os.close(fd)

    def whole(self, name: str, *, most: int) -> bytes:
        """The content of such a file. Raises Garbage."""
        with self.file(name, most=most) as file:
            return file.read(most)

    @contextmanager
    def _folder(self, parts: list[str]) -> Iterator[int]:
        fd = os.dup(self._fd)
        try:
            for part in parts:
                try:
                    below = os.open(part, _FOLDER, dir_fd=fd)
                except OSError as error:
                    raise Garbage(f"{part[:80]!a} cannot be read: {error.strerror}") from None
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)


def pour(
    file: FileIO, taker: taking.Taker, size: int, beat: Callable[[], None] | None = None
) -> str:
    """Hand on exactly so many bytes of a file; returns their digest. Raises Garbage.

    `beat` is called after each piece, by who must not be silent for long.
    """
    digest = hashlib.sha256()
    while size:
        data = file.read(min(size, _PIECE_BYTES))
        if not data:
            raise Garbage("a file is shorter than was said")
        size -= len(data)
        digest.update(data)
        taking.feed(taker, data)
        if beat is not None:
            beat()
    return digest.hexdigest()
