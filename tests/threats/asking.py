"""Raw requests to a control socket: bytes in, lines out, nothing checked on the way."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

PING = b'{"v":1,"id":1,"verb":"ping"}\n'


def request(verb: object, args: object = None, number: object = 1) -> bytes:
    """One request as a line; whatever JSON can say is allowed."""
    tree = {"v": 1, "id": number, "verb": verb, "args": {} if args is None else args}
    return json.dumps(tree).encode() + b"\n"


@contextlib.contextmanager
def connected(spool: Path, *, timeout_s: float = 5.0) -> Iterator[socket.socket]:
    """A connection to the daemon of `spool`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_s)
        folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Where many wait to be let in, it is refused for the moment.
            wait_until(lambda: _connect(line, f"/proc/self/fd/{folder}/control.sock"))
        finally:
            os.close(folder)
        yield line


def _connect(line: socket.socket, address: str) -> bool:
    try:
        line.connect(address)
    except BlockingIOError:
        return False
    return True


def ask(spool: Path, lines: bytes, *, answers: int = 1, timeout_s: float = 5.0) -> list[Any]:
    """Send `lines` and read so many answers; fewer when the daemon closes the connection."""
    with connected(spool, timeout_s=timeout_s) as line:
        line.sendall(lines)
        return read_answers(line, answers)


def read_answers(line: socket.socket, answers: int) -> list[Any]:
    """Read so many answers; fewer when the daemon closes the connection."""
    told = b""
    while told.count(b"\n") < answers:
        try:
            piece = line.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        told += piece
    return [json.loads(each) for each in told.splitlines()]


def is_well(spool: Path) -> bool:
    """Both threads answer: the one of the socket, and the one that decides."""
    try:
        told = ask(spool, PING) + ask(spool, request("status"))
    except OSError:
        return False
    return len(told) == 2 and all(each["ok"] for each in told)
