"""The slot of a BOINC client: the folder that a program runs in, and what lies in it.

The client and the program share a file in memory with eight places for a message (`Channels`).
A file that belongs to the project stands there as a line of text that names it (`real`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import time
from typing import NamedTuple, Optional

#: What the server gives and takes; the names under which a slot has it.
ORDER = "order.json"
OUTPUT = "out.bin"  #: a `onefile`
BUNDLE = "python.tgz"  #: a Python, for hosts without one
#: The client's own names, and those that it looks for.
SHARED = "boinc_mmap_file"
LOCK = "boinc_lockfile"
FINISHED = "boinc_finish_called"
TEMPORARY = "boinc_temporary_exit"
ABOUT = "init_data.xml"

LOCK_S = 35.0  #: an earlier copy hears that its client is dead after 30 s
_CHANNEL_BYTES = 1024
_NAMES = (
    *("process_control_request", "process_control_reply", "graphics_request"),
    *("graphics_reply", "heartbeat", "app_status", "trickle_up", "trickle_down"),
)
#: An input of a task's that looks like one names hardly a file of the project's.
_LINK = re.compile(rb"\A\s*<soft_link>((\.\./)+projects/[^<\n]{1,4000})</soft_link>\s*\Z")
_MOST_LINK_BYTES = 5000
_MOST_ABOUT_BYTES = 4 << 20


class About(NamedTuple):
    """What a client says of the work in a slot."""

    cpu_s: float  #: processor time that earlier starts took, until the last checkpoint
    client_pid: int


class Channels:
    """The messages between a program and its client; each place holds one until it is read."""

    def __init__(self, slot: str) -> None:
        """Raises OSError or ValueError where no client has made them."""
        fd = os.open(f"{slot}/{SHARED}", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._shared = mmap.mmap(fd, _CHANNEL_BYTES * len(_NAMES))
        finally:
            os.close(fd)

    def take(self, name: str) -> bytes:
        """The message that waits there; empty: none."""
        start = _CHANNEL_BYTES * _NAMES.index(name)
        if not self._shared[start]:
            return b""
        raw = self._shared[start + 1 : start + _CHANNEL_BYTES]
        self._shared[start] = 0
        return raw.partition(b"\0")[0]

    def put(self, name: str, text: bytes) -> None:
        """Leave a message; one that was not read yet is replaced, so the last one counts."""
        start = _CHANNEL_BYTES * _NAMES.index(name)
        data = text[: _CHANNEL_BYTES - 2] + b"\0"
        self._shared[start] = 0
        self._shared[start + 1 : start + 1 + len(data)] = data
        self._shared[start] = 1

    def close(self) -> None:
        self._shared.close()


def locked(slot: str, wait_s: float = LOCK_S) -> Optional[int]:
    """The slot's lock, as an open descriptor; None when another has it for so long.

    A client that was killed and started again starts a program again whose first copy lives.
    """
    fd = os.open(f"{slot}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    until = time.monotonic() + wait_s
    parent = os.getppid()
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError:
            if time.monotonic() >= until or os.getppid() != parent:
                os.close(fd)
                return None
        time.sleep(0.2)


def real(slot: str, name: str) -> str:
    """The path of a file of the slot; where a link of the client's stands, of what it names."""
    path = os.path.join(slot, name)
    with contextlib.suppress(OSError):
        if os.stat(path).st_size <= _MOST_LINK_BYTES:
            with open(path, "rb") as file:
                found = _LINK.match(file.read(_MOST_LINK_BYTES))
            if found:
                return os.path.normpath(os.path.join(slot, os.fsdecode(found[1].strip())))
    return path


def come_back(slot: str, after_s: int, why: str) -> None:
    """Ask the client, before an exit with 0, to start the program again later. Raises OSError."""
    _put(f"{slot}/{TEMPORARY}", f"{after_s}\n{why}\n")


def finish(slot: str) -> None:
    """Say that the output is complete: the last that a program does. Raises OSError."""
    _put(f"{slot}/{FINISHED}", "0\n")


def about(slot: str) -> About:
    """What the client says of the work in the slot; what it does not say is 0."""
    try:
        with open(f"{slot}/{ABOUT}", "rb") as file:
            text = file.read(_MOST_ABOUT_BYTES)
    except OSError:
        return About(0.0, 0)
    return About(_number(text, b"wu_cpu_time"), int(_number(text, b"client_pid")))


def _number(text: bytes, name: bytes) -> float:
    found = re.search(b"<%s>([^<]{1,40})</%s>" % (name, name), text)
    with contextlib.suppress(ValueError):
        number = float(found[1]) if found else 0.0
        return number if 0.0 < number < 1e15 else 0.0
    return 0.0


def _put(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o664)
    with open(fd, "w", encoding="utf-8") as file:
        os.fchmod(fd, 0o664)  # the client may be another user of the same group
        file.write(text)
        file.flush()
        os.fsync(fd)
