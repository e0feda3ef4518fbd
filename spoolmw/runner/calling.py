"""How a pilot reaches its daemon: TLS, a certificate that it knows by its fingerprint, a token.

Rule 1: nothing is said before the fingerprint is right.
Rule 2: a token is good for one pilot. With it goes a secret that this pilot has made itself; who
comes again shows both, so a token that somebody else has read is worth nothing once it was used.
Rule 3: a connection that breaks is made again for ever, after 1 s, then twice as long each time up
to half a minute, with jitter.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import random
import secrets
import socket
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from . import wire
from .secure import Secure, context_of_client

_CONNECT_S = 10.0
_FIRST_PAUSE_S = 1.0  #: doubles
_LONGEST_PAUSE_S = 30.0
_HEALTHY_S = 10.0  #: a connection that stood so long starts the pauses anew
_PATIENCE_S = 10.0  #: with a side that takes nothing
_LAST_S = 5.0  #: for the daemon to hang up when everything was said
_TICK_S = 1.0
_PIECE_BYTES = 256 << 10
_MOST_ANSWER_BYTES = 4096


class Order(NamedTuple):
    """Whom to call, and what to say."""

    host: str
    port: int
    fingerprint: str  #: SHA-256 of the certificate
    seat: int
    token: str

    @property
    def name(self) -> str:
        """What this pilot may be called in public."""
        return digest_of(self.token)[:32]

    @staticmethod
    def of(told: Dict[str, Any]) -> Order:
        """Raises LookupError, TypeError or ValueError."""
        return Order(
            str(told["host"]), int(told["port"]), str(told["fingerprint"]), int(told["seat"]),
            str(told["token"]),
        )  # fmt: skip


class _Unwanted(Exception):
    """The daemon does not want this pilot; the text is its own."""


def digest_of(secret: str) -> str:
    """What of a token or secret may be written down."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Caller:
    """Calls the daemon, and joins each connection to the keeper's socket."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.unwanted = ""  #: why the daemon does not want this pilot
        self.unreached = (
            "it was not called yet"  #: why the daemon was never reached; "": it was
        )
        self._secret = secrets.token_hex(32)
        self._context = context_of_client()
        self._is_last = threading.Event()

    def last_call(self) -> None:
        """The keeper is gone: bring home what is under way, and call no more."""
        self._is_last.set()

    def run(self, knock: Callable[[], Optional[socket.socket]]) -> None:
        """Call until the last call was made, or nobody wants us; `knock` gives the keeper's socket."""
        pause_s = _FIRST_PAUSE_S
        while not self._is_last.is_set():
            began = time.monotonic()
            try:
                self._call_once(knock)
            except _Unwanted as error:
                self.unwanted = str(error)
                return
            except (OSError, wire.WireError) as error:
                self.unreached = self.unreached and str(error)
            if time.monotonic() > began + _HEALTHY_S:
                pause_s = _FIRST_PAUSE_S
            self._is_last.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _call_once(self, knock: Callable[[], Optional[socket.socket]]) -> None:
        """One connection from its beginning to its end. Raises OSError, WireError, _Unwanted."""
        way = self._connect()
        try:
            keeper = self._await_keeper(knock)
            with keeper:
                _Joint(way, keeper).hold()
        finally:
            way.dispose()

    def _connect(self) -> Secure:
        """A connection to the daemon, which has bidden us welcome."""
        address = (self.order.host, self.order.port)
        sock = socket.create_connection(address, timeout=_CONNECT_S)
        way = Secure(sock, self._context)
        try:
            until = time.monotonic() + _CONNECT_S
            way.shake_hands(until)
            if not hmac.compare_digest(way.fingerprint(), self.order.fingerprint):
                raise OSError("who answers has another certificate than this pilot was told")
            hello = {"pilot": 1, "seat": self.order.seat, "token": self.order.token}
            told = wire.json_frame({**hello, "secret": self._secret})
            way.send_all(told, _CONNECT_S)
            answer = way.hear_frame(_MOST_ANSWER_BYTES, until)
            if answer.get("event") != "welcome":
                raise _Unwanted(str(answer.get("why", "it does not say why"))[:500])
        except BaseException:
            way.dispose()
            raise
        self.unreached = ""
        return way

    def _await_keeper(self, knock: Callable[[], Optional[socket.socket]]) -> socket.socket:
        until = time.monotonic() + _CONNECT_S
        while time.monotonic() < until and not self._is_last.is_set():
            sock = knock()
            if sock is not None:
                return sock
            time.sleep(0.02)
        raise OSError("the keeper does not answer")


class _Joint:
    """Two streams that are one, until either of them ends."""

    def __init__(self, way: Secure, keeper: socket.socket) -> None:
        self._way = way
        self._keeper = keeper
        self._is_over = threading.Event()

    def hold(self) -> None:
        """Pass bytes on in both directions; returns at the end."""
        up = threading.Thread(target=self._bring_up, daemon=True)
        up.start()
        self._way.settimeout(_TICK_S)
        with contextlib.suppress(OSError):
            self._bring_down()
        with contextlib.suppress(OSError):
            self._keeper.shutdown(socket.SHUT_RDWR)
        self._way.close()
        up.join()

    def _bring_up(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = self._keeper.recv(_PIECE_BYTES)
                if not data:
                    break
                self._way.send_all(data, _PATIENCE_S)
        self._is_over.set()
        self._way.end_sending()  # what was sent arrives: the other side hangs up when it has it

    def _bring_down(self) -> None:
        until = float("inf")
        while time.monotonic() < until:
            try:
                data = self._way.recv(_PIECE_BYTES)
            except TimeoutError:
                data = None
            if data is not None and not data:
                return
            if self._is_over.is_set():
                until = min(until, time.monotonic() + _LAST_S)
            elif data:
                self._keeper.sendall(data)
