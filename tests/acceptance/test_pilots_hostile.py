"""Who calls the port of the pilots and is none: nothing of it reaches a seat, and pilots do not notice."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from spoolmw.runner import wire
from spoolmw.runner.calling import Caller, Order, _Unwanted
from spoolmw.runner.secure import Secure, context_of_client
from tests.support.pilots import Fleet, begun, hold, note
from tests.support.waiting import wait_until

HELLO_S = 5.0


@dataclass
class Gate:
    """A fleet whose own pilot calls where nobody is, so that its order is ours to use."""

    fleet: Fleet

    @property
    def order(self) -> Order:
        """What the pilot that waits was told, with the right port."""
        folder = self.fleet.folder  # once it has a keeper, it has read its order
        self.fleet.wait_until(lambda: list(folder.glob("job-*/spoolmw-*/keeper.sock")))
        orders = self.fleet.folder / "orders"
        path = self.fleet.wait_until(lambda: next(orders.glob("*.json"), None))
        assert path is not None
        told = json.loads(path.read_text())
        return Order.of({**told, "host": "127.0.0.1", "port": self.fleet.port})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.fleet.port))

    def connect_tls(self) -> Secure:
        way = Secure(self.connect(), context_of_client())
        way.shake_hands(time.monotonic() + 5)
        return way

    def ends_within(self, sock: socket.socket, seconds: float) -> bool:
        """Whether the other side hangs up in time."""
        sock.settimeout(seconds)
        try:
            while sock.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    more = 'min = 1\nadvertise = "127.0.0.1:1"\nidle = "60s"\n'
    with Fleet(tmp_path / "home", most=1, slots=1, more=more) as fleet:
        yield Gate(fleet)


def test_a_token_is_good_for_one_pilot_alone(gate: Gate) -> None:
    order = gate.order
    first, thief = Caller(order), Caller(order)
    first._connect().dispose()
    with pytest.raises(_Unwanted, match="used by another"):
        thief._connect()
    first._connect().dispose()
    assert not list((gate.fleet.folder / "orders").iterdir())


def test_after_a_restart_too(gate: Gate) -> None:
    order = gate.order
    first = Caller(order)
    first._connect().dispose()
    gate.fleet.daemon.kill()
    gate.fleet.daemon.start()
    gate.fleet.wait_until(lambda: _gets_in(first))
    with pytest.raises(_Unwanted):
        Caller(order)._connect()


def test_a_wrong_token_is_refused_without_a_reason(gate: Gate) -> None:
    order = gate.order
    for wrong in (
        order._replace(token="0" * 64),
        order._replace(token=""),
        order._replace(token=order.token[:-1]),
        order._replace(seat=2),
        order._replace(seat=0),
    ):
        with pytest.raises(_Unwanted):
            Caller(wrong)._connect()
    Caller(order)._connect().dispose()


def test_a_pilot_tells_nobody_anything_whose_certificate_is_another(gate: Gate) -> None:
    wrong = gate.order._replace(fingerprint="0" * 64)
    with pytest.raises(OSError, match="another certificate"):
        Caller(wrong)._connect()
    Caller(gate.order)._connect().dispose()


def test_old_tls_is_refused(gate: Gate) -> None:
    context = context_of_client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    good = Secure(gate.connect(), context)
    good.shake_hands(time.monotonic() + 5)
    good.dispose()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    bad = Secure(gate.connect(), old)
    with pytest.raises(OSError):  # noqa: PT011  which one is the library's matter
        bad.shake_hands(time.monotonic() + 5)
    bad.dispose()


def test_garbage_and_silence_end_soon(gate: Gate) -> None:
    with gate.connect() as garbage, gate.connect() as silent, gate.connect() as slow:
        garbage.sendall(os.urandom(4096))
        assert gate.ends_within(garbage, HELLO_S - 1)
        slow.sendall(b"\x16\x03\x01\x3f\x00")  # so begins a long hello of TLS
        until = time.monotonic() + 3 * HELLO_S
        while not gate.ends_within(slow, 0.5):
            assert time.monotonic() < until, "the bound is on the whole hello"
            with contextlib.suppress(OSError):
                slow.sendall(b"\x01")
        assert gate.ends_within(silent, 2 * HELLO_S)
    Caller(gate.order)._connect().dispose()


@pytest.mark.parametrize(
    "hello",
    [
        wire.frame(b"x" * 5000),
        b"\xff\xff\xff\xff\x4a",
        wire.frame(b"not json"),
        wire.frame(b"[]"),
        wire.frame(b"{}"),
        wire.frame(b"[" * 4000),
        wire.frame(b"{}", wire.BYTES),
        wire.json_frame({"seat": [1], "token": 5, "secret": None}),
        wire.json_frame({"seat": True, "token": "a", "secret": "b" * 64}),
        wire.json_frame({"do": "setup"}),
    ],
)
def test_what_is_no_hello_ends_the_connection(gate: Gate, hello: bytes) -> None:
    way = gate.connect_tls()
    way.send_all(hello, 1.0)
    way.settimeout(HELLO_S - 0.5)
    answer = b""
    while data := way.recv(4096):
        answer += data
    way.dispose()
    assert answer == b"" or b"refused" in answer
    Caller(gate.order)._connect().dispose()


def test_a_crowd_of_strangers_is_held_off_and_goes(gate: Gate) -> None:
    caller = Caller(gate.order)
    crowd = [gate.connect() for _ in range(100)]
    try:

        def turned_away() -> int:
            return sum(gate.ends_within(each, 0.01) for each in crowd)

        assert 60 <= wait_until(lambda: (found := turned_away()) >= 60 and found) < 100
        gate.fleet.wait_until(lambda: _gets_in(caller), 60.0)
    finally:
        for each in crowd:
            each.close()


def _gets_in(caller: Caller) -> bool:
    try:
        caller._connect().dispose()
    except OSError:
        return False
    return True


def test_a_pilot_that_lies_loses_its_seat(gate: Gate) -> None:
    liar = Caller(gate.order)
    way = liar._connect()
    way.send_all(wire.json_frame({"event": "hello", "cores": "many"}), 1.0)
    gate.fleet.wait_until(lambda: "what no keeper says" in gate.fleet.told())
    way.dispose()


def test_work_goes_on_beside_all_that(tmp_path: Path) -> None:
    said, flag = tmp_path / "said", tmp_path / "flag"
    with Fleet(tmp_path / "home", most=1, slots=1, more='idle = "60s"\n') as fleet:
        held = fleet.spool.submit(hold, 1, str(flag), str(said))
        fleet.wait_until(lambda: begun(said) == [1])
        [pilot] = fleet.pilots()
        strangers = [socket.create_connection(("127.0.0.1", fleet.port)) for _ in range(60)]
        for each in strangers[::2]:
            each.sendall(os.urandom(1000))
        flag.touch()
        assert held.result(30) == 1
        assert fleet.spool.submit(note, 2, str(said)).result(30) == 4
        for each in strangers:
            each.close()
        assert fleet.pilots() == [pilot]
        assert len(fleet.attempts(held.id)) == 1


def test_token_and_key_are_nobody_elses_to_read(gate: Gate) -> None:
    order = gate.order
    folder = gate.fleet.folder
    for path in [folder, *folder.rglob("*")]:
        if "job-" not in str(path):
            assert not path.stat().st_mode & 0o077, path
    Caller(order)._connect().dispose()
    kept = b"".join(path.read_bytes() for path in folder.glob("seat-*"))
    assert order.token.encode() not in kept
