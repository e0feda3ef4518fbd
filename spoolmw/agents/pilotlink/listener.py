"""The one port of a section: who calls is let in when certificate, token and secret are right.

Rule 1: before that nobody gets more than a few seconds, a few KiB and one thread of a small number.
Rule 2: nobody is told why exactly a token is not right.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spoolmw.agents.pilotlink.brief import address_of
from spoolmw.agents.pilotlink.certificate import Certificate
from spoolmw.runner import wire
from spoolmw.runner.secure import Secure, context_of_server

HELLO_S = 5.0  #: from the connection to the whole hello
MOST_HELLO_BYTES = 4096
MOST_STRANGERS = 128  #: connections at once whose hello has not come
MOST_OF_ADDRESS = 32  #: of these, from one address
_BACKLOG = 256
_PATIENCE_S = 10.0  #: with whoever has our port still
_PAUSE_S = 0.1  #: after an accept that failed, for lack of descriptors as a rule

Admit = Callable[[dict[str, Any]], "Callable[[Secure], None]"]


class Refused(Exception):
    """Who called is none of our pilots; the text is told."""


class Listener:
    """Accepts in a thread of its own; `admit` looks at a hello, and says who takes the connection."""

    def __init__(self, listen: str, folder: Path, mine: Certificate, admit: Admit) -> None:
        """Raises OSError."""
        self._admit = admit
        self._context = context_of_server(str(mine.path), str(mine.path))
        self._strangers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._socket = _bound(listen, folder / "port")
        self.address = self._socket.getsockname()[:2]
        threading.Thread(target=self._accept, name="listener", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, (address, *_) = self._socket.accept()
            except OSError:
                time.sleep(_PAUSE_S)
                continue
            if not self._enters(address):
                sock.close()
                continue
            thread = threading.Thread(target=self._greet, args=(sock, address), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there are too many: whoever it was calls again
                self._leaves(address)
                sock.close()

    def _leaves(self, address: str) -> None:
        with self._lock:
            self._strangers[address] -= 1
            self._strangers += Counter()  # forgets those that are at zero

    def _enters(self, address: str) -> bool:
        with self._lock:
            if self._strangers.total() >= MOST_STRANGERS:
                return False
            if self._strangers[address] >= MOST_OF_ADDRESS:
                return False
            self._strangers[address] += 1
            return True

    def _greet(self, sock: socket.socket, address: str) -> None:
        try:
            self._hear(sock)
        finally:
            self._leaves(address)

    def _hear(self, sock: socket.socket) -> None:
        """Let a pilot in, or hang up; whatever a stranger says ends only its connection."""
        way = Secure(sock, self._context, is_server=True)
        try:
            until = time.monotonic() + HELLO_S
            way.shake_hands(until)
            told = way.hear_frame(MOST_HELLO_BYTES, until)
            try:
                take = self._admit(told)
            except Refused as error:
                answer = wire.json_frame({"event": "refused", "why": str(error)})
                way.send_all(answer, HELLO_S)
                way.end_sending()
                with contextlib.suppress(OSError):
                    way.recv(1)  # until the other side has it and hangs up
                raise
            way.send_all(wire.json_frame({"event": "welcome"}), HELLO_S)
            take(way)
        except (OSError, wire.WireError, Refused):
            way.dispose()


def _bound(listen: str, memory: Path) -> socket.socket:
    """A socket that listens. A port that was chosen freely is kept: pilots know it. Whoever served
    it before us may still be dying, so it is waited for."""
    host, port = address_of(listen)
    kept = 0 if port else _kept(memory)
    until = time.monotonic() + _PATIENCE_S
    while kept:
        try:
            return _listening(host, kept)
        except OSError:
            if time.monotonic() > until:
                break
            time.sleep(_PAUSE_S)
    sock = _listening(host, port)
    if not port:
        memory.touch(mode=0o600)
        memory.write_text(str(sock.getsockname()[1]), encoding="ascii")
    return sock


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _kept(memory: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(memory.read_text(encoding="ascii"))
    return 0
