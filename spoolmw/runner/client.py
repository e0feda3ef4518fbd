"""One connection to a keeper: what it puts here, and what it is sent."""

from __future__ import annotations

import itertools
import os
import socket
import time
from typing import Any, Dict, List, NamedTuple

from . import wire
from .carriage import Intake
from .hostfolder import HostFolder
from .packs import Packs
from .sending import Sending
from .shelf import Shelf

SILENCE_S = 8.0  #: a client says something every 2 s
_BUFFER_BYTES = 1 << 20
_numbers = itertools.count(1)


class Ground(NamedTuple):
    """What all clients of a keeper share."""

    folder: HostFolder
    shelf: Shelf
    packs: Packs


class Client:
    """A connection, before and after it said who it is."""

    def __init__(self, sock: socket.socket, ground: Ground) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self.number = next(_numbers)
        self.stream = wire.Stream(sock)
        self.sending = Sending(self.stream, ground.shelf, ground.folder)
        self.is_set_up = False
        self.watched_to_write = False
        self._intake = Intake(ground.folder, ground.packs)
        self._heard_at = time.monotonic()

    @property
    def wants_to_write(self) -> bool:
        return not self.sending.is_empty

    def receive(self) -> List[wire.Frame]:
        """What it said. Raises Closed and WireError."""
        self._heard_at = time.monotonic()
        return self.stream.receive()

    def take(self, data: bytes) -> None:
        """Bytes of a file. Raises WireError."""
        self._intake.take(data)
        self._tell_refusals()

    def sealed(self) -> List[str]:
        """The replicas ("TASK/REPLICA") whose checkpoints it put here since this was last asked."""
        found, self._intake.sealed = self._intake.sealed, []
        return found

    def obeys(self, verb: str, told: Dict[str, Any]) -> bool:
        """Whether an order was for the connection itself, and is done."""
        if verb == "ping":
            answer = {"event": "pong", "n": told["n"], "wall": time.time()}
            self.sending.at_once(answer)
            return True
        if self._intake.is_open:
            raise wire.WireError(f"{verb} before all bytes of a file had come")
        if verb == "put" and self.is_set_up:
            self._intake.put(told)
        elif verb == "puts" and self.is_set_up:
            self._intake.put_together(told)
        else:
            return False
        self._tell_refusals()
        return True

    def pump(self) -> None:
        """Send what the stream takes. Raises Closed."""
        self.sending.pump()

    def is_silent(self, now: float) -> bool:
        return now - self._heard_at > SILENCE_S

    def close(self) -> None:
        self._intake.abandon()
        self.stream.close()

    def _tell_refusals(self) -> None:
        if self._intake.refused:
            refused = [
                [os.fsencode(place).decode("utf-8", "replace"), why]
                for place, why in self._intake.refused
            ]
            self._intake.refused = []
            self.sending.say({"event": "refused", "places": refused})
