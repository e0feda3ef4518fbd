"""The standard streams as verbs want them: nothing that is read or written ends in a traceback.

A sign that stdout has no code for is escaped, a byte of stdin that is no text is kept as in names
of files, and a stream that is closed, broken or full is an error that is told.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from spoolmw.errors import SpoolmwError


class StreamLost(SpoolmwError):
    """A standard stream cannot be used."""


class _Input(io.FileIO):
    def readinto(self, buffer: Any, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise _unreadable(error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise _unreadable(error) from error


class _Output(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self._give_up()
            if isinstance(error, BrokenPipeError):
                raise  # nobody reads any more: no reason to complain
            raise StreamLost(
                f"Standard output cannot be written: {error.strerror}.",
                fix="Send it elsewhere, or make room. What was asked for may have been done.",
            ) from error

    def _give_up(self) -> None:
        """What else is written goes nowhere: it is told once, and not at the very end again."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def _unreadable(error: OSError) -> StreamLost:
    return StreamLost(
        f"Standard input cannot be read: {error.strerror}.",
        fix="Give it a file or a pipe, or name the tasks on the command line.",
    )


def take_streams() -> None:
    """Have stdin and stdout tell what fails; a closed one does so when it is used."""
    sys.stdin = _stdin(sys.stdin)
    sys.stdout = _stdout(sys.stdout)


def _stdin(given: TextIO | None) -> TextIO:
    # What replaces a closed stream is open the wrong way round, so that its use fails.
    fd = os.open(os.devnull, os.O_WRONLY) if given is None else given.fileno()
    raw = _Input(fd, "r", closefd=False)
    encoding = given.encoding if given else "utf-8"
    return io.TextIOWrapper(io.BufferedReader(raw), encoding, "surrogateescape")


def _stdout(given: TextIO | None) -> TextIO:
    fd = os.open(os.devnull, os.O_RDONLY) if given is None else given.fileno()
    raw = _Output(fd, "w", closefd=False)
    encoding = given.encoding if given else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding,
        "backslashreplace",
        line_buffering=raw.isatty(),
    )
