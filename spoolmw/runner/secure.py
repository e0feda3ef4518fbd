"""A stream of bytes over TLS that one thread may send on while another receives.

An `ssl.SSLSocket` is not made for that: its calls share one state. Here the state works in memory
under a lock, and each thread waits for the socket without it, so that nobody waits for the other.
Both ends of a pilot's connection use it. Whose certificate is right is told by its fingerprint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import select
import socket
import ssl
import threading
import time
from typing import Any, Dict, Optional, Union

from . import wire

USER_TIMEOUT_MS = 10_000  #: bytes under way that nobody takes for so long break the connection
_PIECE_BYTES = 256 << 10
_READ_BYTES = 256 << 10
_MOST_GREETING_BYTES = 64 << 10  #: of a handshake; a real one has less than 8 KiB

Data = Union[bytes, memoryview]


def context_of_client() -> ssl.SSLContext:
    """For a client that compares the certificate's fingerprint by itself, before it says a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def context_of_server(certificate: str, key: str) -> ssl.SSLContext:
    """For a server that has this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    context.load_cert_chain(certificate, key)
    return context


class Secure:
    """TLS on a connected socket; it fulfils what `agents.carrier.way.Way` asks for."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, is_server: bool = False
    ) -> None:
        sock.setblocking(False)  # noqa: FBT003  the standard library's own signature
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=is_server)
        self._state = threading.Lock()  #: of the TLS object and both memories
        self._sending = threading.Lock()  #: of the order on the socket; taken before the other
        self._unsent = bytearray()
        self._timeout: Optional[float] = None
        self._is_over = False

    def shake_hands(self, until: float) -> None:
        """Agree on keys, until then on the monotonic clock. Raises OSError."""
        came = 0
        while True:
            with self._state:
                try:
                    self._tls.do_handshake()
                    is_done = True
                except ssl.SSLWantReadError:
                    is_done = False
            with self._sending:
                self._take_out()
                self._push(until)
            if is_done:
                return
            more = self._fetch(until)
            if not more:
                raise OSError("the other side hung up")
            came += more
            if came > _MOST_GREETING_BYTES:
                raise OSError("what came is no greeting of TLS: it does not end")

    def fingerprint(self) -> str:
        """SHA-256 of the other side's certificate, as hexadecimal digits."""
        with self._state:
            return hashlib.sha256(self._tls.getpeercert(True) or b"").hexdigest()  # noqa: FBT003

    def settimeout(self, seconds: Optional[float]) -> None:
        """How long a call may wait, from the next on."""
        self._timeout = seconds

    def recv(self, most: int) -> bytes:
        """Up to so many bytes; none at the end. Raises TimeoutError, and OSError when it broke."""
        until = self._until()
        while True:
            with self._state:
                try:
                    return self._tls.read(most)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
            self._answer()
            if not self._fetch(until):
                return b""

    def send(self, data: Data) -> int:
        """Send some of it; returns how much. Raises TimeoutError, and OSError when it broke."""
        until = self._until()
        with self._sending:
            self._push(until)
            with self._state:
                sent = self._tls.write(memoryview(data)[:_PIECE_BYTES])
            self._take_out()
            with contextlib.suppress(TimeoutError):  # it is taken: the next call goes on
                self._push(until)
        return sent

    def send_all(self, data: Data, patience_s: float) -> None:
        """Send all of it. Raises OSError, also when nothing of it was taken for so long."""
        view = memoryview(data)
        moved_at = time.monotonic()
        while view:
            try:
                view = view[self.send(view) :]
                moved_at = time.monotonic()
            except TimeoutError:
                if time.monotonic() > moved_at + patience_s:
                    raise

    def hear_frame(self, most: int, until: float) -> Dict[str, Any]:
        """The one JSON frame that comes next, of so many bytes at most; nothing behind it is read.

        Raises OSError, and wire.WireError for what is none.
        """
        head = self._exactly(5, until)
        length = int.from_bytes(head[:4], "big")
        if head[4] != wire.JSON or length > most:
            raise wire.WireError("no frame of ours")
        try:
            told = json.loads(self._exactly(length, until))
        except (ValueError, RecursionError) as error:
            raise wire.WireError("a frame that is not JSON") from error
        if not isinstance(told, dict):
            raise wire.WireError("a frame that is no object")
        return told

    def end_sending(self) -> None:
        """Nothing more is sent; what comes is still received."""
        with self._sending, contextlib.suppress(OSError):
            self._push(time.monotonic() + USER_TIMEOUT_MS / 1000)
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up; who waits in the other calls is woken."""
        self._is_over = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Nobody waits in any call any more: give the descriptor back."""
        self.close()
        self._sock.close()

    def said(self) -> str:
        """Nothing is said beside the stream."""
        return ""

    # -- the socket

    def _until(self) -> Optional[float]:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _exactly(self, size: int, until: float) -> bytes:
        data = b""
        while len(data) < size:
            self.settimeout(max(0.0, until - time.monotonic()))
            more = self.recv(size - len(data))
            if not more:
                raise OSError("the other side hung up")
            data += more
        return data

    def _fetch(self, until: Optional[float]) -> int:
        """Bring some bytes from the socket; how many, 0 at the end."""
        while True:
            try:
                raw = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                self._wait(select.POLLIN, until)
                continue
            with self._state:
                if raw:
                    self._in.write(raw)
            return len(raw)

    def _take_out(self) -> None:
        """What TLS wants to be sent goes behind what waits; under `_sending`."""
        with self._state:
            self._unsent += self._out.read()

    def _answer(self) -> None:
        """Send what TLS itself has to say; whoever sends now does so anyway."""
        if self._out.pending and self._sending.acquire(blocking=False):
            try:
                self._take_out()
                with contextlib.suppress(TimeoutError):
                    self._push(time.monotonic())
            finally:
                self._sending.release()

    def _push(self, until: Optional[float]) -> None:
        """Send what waits; under `_sending`. Raises TimeoutError, OSError."""
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                self._wait(select.POLLOUT, until)
                continue
            del self._unsent[:sent]

    def _wait(self, event: int, until: Optional[float]) -> None:
        if self._is_over:
            raise OSError("the connection was closed")
        poll = select.poll()
        poll.register(self._sock, event)
        rest_ms = None if until is None else max(0.0, until - time.monotonic()) * 1000
        if not poll.poll(rest_ms):
            raise TimeoutError("nothing moved in time")
