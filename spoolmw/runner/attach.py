"""Joins standard input and output to the keeper of a folder: `ARCHIVE attach FOLDER`.

Where there is no keeper, one is started, detached from whatever ends with this connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from typing import List, Optional

from . import hostfolder, results, wire
from .hostfolder import HostFolder

WAIT_S = 10.0  #: for a keeper to listen
_PAUSE_S = 0.02
_PIECE_BYTES = 256 << 10
_BUFFER_BYTES = 1 << 20
_MOST_FDS = 256
_SAID_BYTES = 500


class Unable(Exception):
    """There is no keeper to attach to; the text says why."""


def connect(folder: HostFolder, archive: str) -> socket.socket:
    """A connection to the folder's keeper, which is started if there is none. Raises Unable."""
    os.chdir(folder.root)  # an address has at most 107 bytes
    until = time.monotonic() + WAIT_S
    begun = 0.0
    while time.monotonic() < until:
        sock = knock(archive)
        if sock is not None:
            return sock
        if time.monotonic() > begun + 1.0:  # one that was starting may have ended again
            begun = time.monotonic()
            start(folder, archive)
        time.sleep(_PAUSE_S)
    log = folder.path(hostfolder.LOG)
    said = results.tail(log, _SAID_BYTES).strip().splitlines()
    last = f" Its last words: {said[-1]}" if said else ""
    raise Unable(f"no keeper answers in {folder.root} after {WAIT_S:.0f} s; see {log}.{last}")


def knock(archive: str) -> Optional[socket.socket]:
    """A connection whose keeper is of this version, or has work to end first; from its folder."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(WAIT_S)
        sock.connect(hostfolder.SOCKET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        sock.sendall(
            wire.json_frame({"do": "client", "archive": archive, "python": sys.executable})
        )
        if _answer(sock) == "ready":
            sock.settimeout(None)
            return sock
    except OSError:
        pass
    sock.close()
    return None


def _answer(sock: socket.socket) -> str:
    """The event of the one frame that answers."""
    head = _exactly(sock, 5)
    told = json.loads(_exactly(sock, int.from_bytes(head[:4], "big"))) if head else {}
    return str(told.get("event", ""))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data


def start(folder: HostFolder, archive: str) -> None:
    """Start a keeper that belongs to nobody; it ends at once if there is one."""
    program = [sys.executable, "-I", "-S", archive, "keeper", folder.root]
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)  # the keeper leads no session, so it can get no terminal either
        log = os.open(
            folder.path(hostfolder.LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        os.closerange(3, _MOST_FDS)
        os.execv(program[0], program)  # noqa: S606  its own program
    finally:
        os._exit(1)


def join(sock: socket.socket, reading: int, writing: int) -> None:
    """Pass bytes on in both directions until one of them ends."""
    threading.Thread(target=_bring, args=(reading, sock), daemon=True).start()
    with contextlib.suppress(OSError):
        while True:
            data = sock.recv(_PIECE_BYTES)
            if not data:
                return
            _write(writing, data)


def _bring(reading: int, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = os.read(reading, _PIECE_BYTES)
            if not data:
                break
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def main(argv: List[str], archive: str) -> int:
    """Join the standard streams to the keeper of the folder in the one argument."""
    try:
        folder = hostfolder.make(argv[0])
        sock = connect(folder, os.path.abspath(archive))
    except (hostfolder.Unfit, Unable, OSError) as error:
        told = wire.json_frame({"event": "unable", "why": str(error)})
        _write(1, told)
        sys.stderr.write(f"{error}\n")
        return 1
    join(sock, 0, 1)
    sys.stdout.flush()
    os._exit(0)  # the other direction may wait for bytes that nobody sends
