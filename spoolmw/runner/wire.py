"""Frames on a byte stream: 4 bytes of length (big endian), 1 byte of type, the payload.

Rule 1: nobody blocks on sending. What the kernel does not take waits here, so that two sides
that send at the same time cannot lock each other up.
Rule 2: a frame longer than MAX_PAYLOAD ends the stream: the other side is not one of ours.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, List, Tuple

JSON = 0x4A  #: "J": a header, UTF-8
BYTES = 0x42  #: "B": bytes that belong to the header before it
MAX_PAYLOAD = 16 << 20  #: bytes
_READ_BYTES = 64 << 10  #: at once; for more, each call would map memory anew
_HEAD = struct.Struct(">IB")

Frame = Tuple[int, bytes]

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class WireError(Exception):
    """The other side said something that is not the protocol."""


class Closed(Exception):
    """The other side is gone."""


def frame(payload: bytes, kind: int = JSON) -> bytes:
    """One frame, ready to be sent."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"a frame of {len(payload)} bytes is longer than {MAX_PAYLOAD}")
    return _HEAD.pack(len(payload), kind) + payload


def encode(tree: Any) -> bytes:
    """A tree as JSON on one line; halves of characters (from odd file names) become "?"."""
    return _dumps(tree).encode("utf-8", "replace")


def text(tree: Any) -> str:
    """A tree as JSON on one line, for what is put together by hand."""
    return _dumps(tree)


def json_frame(tree: Any) -> bytes:
    return frame(encode(tree))


class Stream:
    """One end of a connection, with what could not be sent yet and what came in part."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._out = bytearray()
        self._in = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits for the stream to become writable."""
        return bool(self._out)

    @property
    def waiting(self) -> int:
        """Bytes that the kernel did not take yet."""
        return len(self._out)

    def send(self, data: bytes) -> None:
        """Send frames, or keep what the kernel does not take now."""
        if self._out:
            self._out += data
            self.flush()
            return
        sent = self._push(data)
        if sent < len(data):
            self._out += memoryview(data)[sent:]

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        while self._out:
            sent = self._push(self._out)
            if not sent:
                return
            del self._out[:sent]

    def receive(self) -> List[Frame]:
        """The frames that have come whole; raises Closed when the other side is gone."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        self._in += data
        return self._cut()

    def close(self) -> None:
        self._sock.close()

    def _push(self, data: Any) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Closed(str(error)) from error

    def _cut(self) -> List[Frame]:
        frames: List[Frame] = []
        at = 0
        have = len(self._in)
        while have - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._in, at)
            if length > MAX_PAYLOAD or kind not in (JSON, BYTES):
                raise WireError(f"no frame: length {length}, type {kind}")
            end = at + _HEAD.size + length
            if end > have:
                break
            frames.append((kind, bytes(memoryview(self._in)[at + _HEAD.size : end])))
            at = end
        if at:
            del self._in[:at]
        return frames
