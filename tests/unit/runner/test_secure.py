"""TLS that one thread sends on while another receives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.agents.pilotlink import certificate
from spoolmw.runner import wire
from spoolmw.runner.secure import Secure, context_of_client, context_of_server

Pair = tuple[Secure, Secure]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A client and a server that have shaken hands."""
    mine = certificate.provide(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    server = Secure(far, context_of_server(str(mine.path), str(mine.path)), is_server=True)
    client = Secure(near, context_of_client())
    other = threading.Thread(target=server.shake_hands, args=(time.monotonic() + 30,))
    other.start()
    client.shake_hands(time.monotonic() + 30)
    other.join()
    assert client.fingerprint() == mine.fingerprint
    yield client, server
    client.dispose()
    server.dispose()


def _take(way: Secure, size: int) -> str:
    digest = hashlib.sha256()
    way.settimeout(10)
    while size:
        data = way.recv(1 << 16)
        assert data
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def test_much_goes_both_ways_at_once(pair: Pair) -> None:
    """Neither side waits for the other: both send more than any buffer holds, then hear."""
    data = os.urandom(20 << 20)
    wanted = hashlib.sha256(data).hexdigest()
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda way=way: got.append(_take(way, len(data))))
        for way in pair
    ] + [threading.Thread(target=way.send_all, args=(data, 10.0)) for way in pair]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert got == [wanted, wanted]


def test_a_side_that_takes_nothing_is_noticed(pair: Pair) -> None:
    client, _ = pair
    client.settimeout(0.05)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.send_all(bytes(64 << 20), 0.3)
    assert time.monotonic() - began < 30


def test_nothing_to_hear_is_told_in_time(pair: Pair) -> None:
    client, _ = pair
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(10)


def test_what_was_sent_before_the_end_arrives(pair: Pair) -> None:
    client, server = pair
    client.send_all(b"x" * 100_000, 5.0)
    client.end_sending()
    assert _take(server, 100_000)
    assert server.recv(10) == b""
    server.send_all(b"and back", 5.0)
    client.settimeout(5)
    assert client.recv(100) == b"and back"


def test_who_waits_is_woken_by_close(pair: Pair) -> None:
    client, _ = pair
    client.settimeout(None)
    woken = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):
            client.recv(10)
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.05)
    client.close()
    assert woken.wait(5)


def test_no_byte_behind_a_frame_is_lost(pair: Pair) -> None:
    client, server = pair
    client.send_all(wire.json_frame({"a": 1}) + b"rest", 5.0)
    assert server.hear_frame(100, time.monotonic() + 30) == {"a": 1}
    assert server.recv(100) == b"rest"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" * 9])
def test_a_greeting_that_is_none_ends_at_once(tmp_path: Path, sent: bytes) -> None:
    mine = certificate.provide(tmp_path)
    near, far = socket.socketpair()
    context = context_of_server(str(mine.path), str(mine.path))
    server = Secure(far, context, is_server=True)
    near.sendall(sent)
    near.close()
    began = time.thread_time()
    with pytest.raises(OSError):  # noqa: PT011  which one is the library's matter
        server.shake_hands(time.monotonic() + 30)
    assert time.thread_time() - began < 1
    server.dispose()


def test_the_certificate_is_made_once_and_nobody_elses_to_read(tmp_path: Path) -> None:
    first = certificate.provide(tmp_path)
    assert certificate.provide(tmp_path) == first
    assert first.path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    assert certificate.provide(tmp_path / "other").fingerprint != first.fingerprint
