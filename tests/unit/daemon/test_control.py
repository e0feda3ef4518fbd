"""The control socket's thread outlives whatever it is asked."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.daemon import control
from tests.support.bench import Bench
from tests.support.waiting import wait_until


class Asker:
    """One connection to the control socket, answered by the bench's ticks."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(0.05)
        self._sock.connect(str(bench.layout.control))
        self._got = b""

    def ask(self, line: str) -> dict[str, object]:
        """Send one line; the answer to it."""
        self._sock.sendall(line.encode() + b"\n")

        def answered() -> bool:
            with contextlib.suppress(TimeoutError):
                self._got += self._sock.recv(65536)
            return b"\n" in self._got

        self._bench.until(answered)
        answer, _, self._got = self._got.partition(b"\n")
        return dict(json.loads(answer))

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def asker(bench: Bench, tmp_path: Path) -> Iterator[Asker]:
    made = Asker(bench)
    yield made
    made.close()


def request(verb: str, args: str, number: str = "1") -> str:
    return f'{{"v":1,"id":{number},"verb":"{verb}","args":{args}}}'


@pytest.mark.parametrize(
    "line",
    [
        request("find", '{"limit":-1000000000000000000000000000000}'),
        request("find", '{"name":"\\ud800"}'),
        request("find", '{"key":"\\ud800","box":"\\u0000","state":"\\udfff"}'),
        request("show", '{"id":"\\ud800"}'),
        request("why", '{"id":"\\ud800"}'),
        request("tail", '{"id":"x","offset":1e999}'),
        request("status", "{}", number="[" * 940 + "]" * 940),
        request("status", "{}", number="[" * 985 + "]" * 985),
        request("status", "{}", number='"' + "x" * 100_000 + '"'),
        request("nonsense", "{}", number='{"a":NaN}'),
    ],
)
def test_an_odd_line_is_answered_and_the_next_one_too(asker: Asker, line: str) -> None:
    asker.ask(line)
    answer = asker.ask(request("ping", "{}", number="7"))
    assert answer["ok"] is True
    assert answer["id"] == 7


def test_a_socket_that_somebody_removed_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.05)
    bench.close()
    bench.start()
    mode = bench.layout.control.stat().st_mode
    bench.layout.control.unlink()
    wait_until(bench.layout.control.exists)
    wait_until(lambda: bench.layout.control.stat().st_mode == mode)
    asker = Asker(bench)
    assert asker.ask(request("ping", "{}"))["ok"]
    asker.close()
