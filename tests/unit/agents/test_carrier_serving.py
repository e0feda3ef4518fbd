"""What every link process is, tried on one that tells of itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.waiting import wait_until

TELLS = """\
import os, sys, threading
from spoolmw.agents.carrier import serving

def serve(sock):
    main = threading.current_thread() is threading.main_thread()
    inherits = any(os.get_inheritable(int(fd)) for fd in sys.argv[2:])
    sock.sendall(f"main {main}, inherits {inherits}".encode())
    sock.recv(1)

sys.exit(serving.main(sys.argv[1:], serve))
"""


@contextmanager
def started(
    count: int, parent: int
) -> Iterator[tuple[subprocess.Popen[bytes], list[socket.socket]]]:
    """A link process and our ends of its sockets."""
    pairs = [socket.socketpair() for _ in range(count)]
    fds = [theirs.fileno() for _, theirs in pairs]
    words = [sys.executable, "-c", TELLS, str(parent), *map(str, fds)]
    made = subprocess.Popen(words, pass_fds=fds)
    for ours, theirs in pairs:
        theirs.close()
        ours.settimeout(20)
    try:
        yield made, [ours for ours, _ in pairs]
    finally:
        made.kill()
        made.wait()
        for ours, _ in pairs:
            ours.close()


def test_a_single_socket_is_served_by_the_main_thread() -> None:
    with started(1, os.getpid()) as (_, [sock]):
        assert sock.recv(100) == b"main True, inherits False"


def test_each_of_several_sockets_is_served_until_all_are_closed() -> None:
    with started(3, os.getpid()) as (made, socks):
        assert {each.recv(100) for each in socks} == {b"main False, inherits False"}
        for each in socks[:2]:
            each.close()
        assert made.poll() is None
        socks[2].close()
        assert made.wait(20) == 0


def test_it_ends_at_once_when_the_daemon_that_started_it_is_gone() -> None:
    with started(1, 1) as (made, [sock]):
        assert sock.recv(100) == b""
        assert wait_until(made.poll) == 1
