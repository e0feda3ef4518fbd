"""The beginning of a runner: the stream that it was given, and the setup on it."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys
from typing import List

from . import process, wire
from .serve import Runner


def main(argv: List[str], archive: str) -> int:
    """Be the runner of the agent at the other end of a descriptor: arguments FD DAEMON."""
    fd, daemon = map(int, argv)
    process.become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    stream = wire.Stream(sock)
    waiter = selectors.DefaultSelector()
    waiter.register(stream, selectors.EVENT_READ)
    frames: List[wire.Frame] = []
    while not frames:
        waiter.select()
        frames = stream.receive()
    setup = json.loads(frames[0][1])
    runner = Runner(stream, setup, archive)
    runner.run(daemon, frames[1:])
    sys.stdout.flush()
    return 0
