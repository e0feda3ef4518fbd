"""Frames: whole or not at all, whatever the pieces; nobody blocks on sending."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolmw.runner import wire

Pair = tuple[wire.Stream, wire.Stream]


def is_behind(stream: wire.Stream) -> bool:
    """Read anew each time it is asked."""
    return stream.unsent


@pytest.fixture
def pair() -> Iterator[Pair]:
    a, b = socket.socketpair()
    streams = wire.Stream(a), wire.Stream(b)
    yield streams
    for each in streams:
        each.close()


def test_frames_arrive_as_they_were_sent(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(wire.json_frame({"do": "x"}) + wire.frame(b"\0\1", wire.BYTES))
    assert theirs.receive() == [(wire.JSON, b'{"do":"x"}'), (wire.BYTES, b"\0\1")]


def test_nothing_there_is_no_frame(pair: Pair) -> None:
    assert pair[0].receive() == []


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 30))
def test_frames_are_put_together_from_any_pieces(payloads: list[bytes], step: int) -> None:
    raw, theirs = socket.socketpair()
    stream = wire.Stream(theirs)
    data = b"".join(wire.frame(each) for each in payloads)
    found: list[bytes] = []
    for at in range(0, len(data), step):
        raw.send(data[at : at + step])
        found += [payload for _, payload in stream.receive()]
    raw.close()
    stream.close()
    assert found == payloads


def test_what_the_kernel_does_not_take_is_sent_later(pair: Pair) -> None:
    ours, theirs = pair
    payload = b"x" * 5_000_000
    ours.send(wire.frame(payload))
    ours.send(wire.frame(b"last"))
    assert is_behind(ours)
    frames: list[wire.Frame] = []
    while len(frames) < 2:
        frames += theirs.receive()
        ours.flush()
    assert not is_behind(ours)
    assert [each[1] for each in frames] == [payload, b"last"]


def test_two_sides_that_both_send_do_not_lock_each_other_up(pair: Pair) -> None:
    ours, theirs = pair
    payload = b"x" * 5_000_000
    ours.send(wire.frame(payload))
    theirs.send(wire.frame(payload))
    got_ours: list[wire.Frame] = []
    got_theirs: list[wire.Frame] = []
    while not (got_ours and got_theirs):
        got_ours += ours.receive()
        got_theirs += theirs.receive()
        ours.flush()
        theirs.flush()
    assert got_ours == got_theirs == [(wire.JSON, payload)]


def test_the_end_of_the_stream_is_told(pair: Pair) -> None:
    ours, theirs = pair
    ours.close()
    with pytest.raises(wire.Closed):
        theirs.receive()
    with pytest.raises(wire.Closed):
        theirs.send(b"x")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 10, b"\0\0\0\1Q."])
def test_what_is_no_frame_ends_the_stream(pair: Pair, data: bytes) -> None:
    ours, theirs = pair
    ours.send(data)
    with pytest.raises(wire.WireError):
        theirs.receive()


def test_a_frame_that_is_too_long_is_not_even_made() -> None:
    with pytest.raises(wire.WireError):
        wire.frame(bytes(wire.MAX_PAYLOAD + 1))


def test_halves_of_characters_do_not_stop_a_report() -> None:
    assert wire.encode({"name": "a\udc80"}) == b'{"name":"a?"}'
