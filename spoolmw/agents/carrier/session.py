"""One connection to a host's keeper, from its setup to its end.

Two threads use it: the host's own sends (and waits while the host takes nothing), and one of
the session listens. Whoever notices the end says why, once.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from spoolmw.agents.carrier import claims, giving
from spoolmw.agents.carrier.book import Book
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.agents.carrier.frames import Frames
from spoolmw.agents.carrier.giving import Giver
from spoolmw.agents.carrier.hearing import Hearing, Tell, refusal, tree
from spoolmw.agents.carrier.trouble import HostTrouble, odd, trouble
from spoolmw.agents.carrier.way import Way
from spoolmw.runner import PROTOCOL, wire

PING_S = 2.0
SILENCE_S = 8.0  #: without a word the connection is dead
_HELLO_S = 30.0  #: a keeper that has to start, with a long outbox, may take so long
_TICK_S = 1.0
_CLOSE_S = 5.0  #: for the listener to write what it has in hand
_READ_BYTES = 256 << 10
_MUCH_BYTES = (
    256 << 10
)  #: at once: it shows that the host takes them, unlike a ping in a buffer


class Session:
    """A keeper that is attached to."""

    def __init__(
        self,
        way: Way,
        setup: dict[str, Any],
        root: str,
        book: Book,
        tell: Tell,
    ) -> None:
        """Say who we are and hear who it is; `tell` passes on to the daemon. Raises HostTrouble."""
        self._way = way
        self._way.settimeout(_TICK_S)
        self._tell = tell
        self._frames = Frames()
        self._early: list[wire.Frame] = []
        self._end = threading.Event()
        self._why: Exception | None = None
        self._pinged_at = 0.0
        self._moved_at = 0.0  #: the host took some of a file that takes its time
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self.began_at = time.monotonic()
        self.is_garbage = False  #: it ended because the host said what no keeper says
        self.giver = Giver(root, book, self._give)
        self._hearing = Hearing(root, book, self.giver, tell)
        book.new_connection()
        try:
            self._send(wire.json_frame({"do": "setup", "protocol": PROTOCOL, **setup}))
            self.hello = self._welcome()
        except (Garbage, wire.WireError) as error:
            raise trouble(
                "runner", "the host answers what no keeper says", why=str(error)
            ) from error
        self.giver.inputs |= set(self.hello["inputs"])

    def start(self) -> None:
        """Listen from now on."""
        self._listener.start()

    @property
    def is_over(self) -> bool:
        return self._end.is_set()

    def close(self) -> Exception | None:
        """Hang up; returns why it ended, if it ended by itself."""
        why = self._why
        self._end.set()
        self._way.close()
        if self._listener.is_alive():
            self._listener.join(_CLOSE_S)
        return why

    # -- what the daemon says

    def obey(self, told: dict[str, Any]) -> None:
        """Pass on what the agent says. Raises HostTrouble when the host is gone."""
        verb = told["do"]
        if verb == "launch":
            hopeless = self.giver.launch(told["work"])
            if hopeless:
                self._tell({"event": "ended", "attempts": hopeless})
        else:
            self._send(wire.json_frame(told))

    def keep_alive(self) -> None:
        """Ping, when it is time."""
        now = time.monotonic()
        if now - self._pinged_at >= PING_S:
            self._pinged_at = now
            self._send(wire.json_frame({"do": "ping", "n": int(now)}))

    def drop_unused(self) -> None:
        """Have the host forget what the spool has forgotten."""
        giving.forgotten(self._send, self.giver.unused())

    def _give(self, data: bytes) -> None:
        """Send whole frames of what may be long: pings go between them, when it is time."""
        self.keep_alive()
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send all of it, as fast as the host takes it; other threads hear meanwhile."""
        is_much = len(data) > _MUCH_BYTES
        view = memoryview(data)
        while view:
            if self._end.is_set():
                raise _broken(self._why)
            try:
                view = view[self._way.send(view) :]
                if is_much:
                    self._moved_at = time.monotonic()
            except TimeoutError:
                continue  # the listener knows whether it lives
            except OSError as error:
                raise _broken(self._why or error) from error

    # -- what the host says

    def _welcome(self) -> dict[str, Any]:
        until = time.monotonic() + _HELLO_S
        while time.monotonic() < until:
            frames, self._early = self._early or self._receive(), []
            for at, (kind, payload) in enumerate(frames):
                if kind != wire.JSON:
                    raise Garbage("bytes before a hello")
                told = tree(payload)
                if told.get("event") in ("refused", "error", "unable"):
                    raise refusal(told)
                if told.get("event") == "hello":
                    self._early = frames[at + 1 :]
                    return claims.hello(told)
        raise trouble(
            "runner",
            "the keeper on the host did not say hello",
            why=self._way.said() or f"nothing came within {_HELLO_S:.0f} s",
            fix="look into keeper.log in its folder on the host",
        )

    def _receive(self) -> list[wire.Frame]:
        """Some frames; none when nothing came within a second. Raises HostTrouble at the end."""
        try:
            data = self._way.recv(_READ_BYTES)
        except TimeoutError:
            return []
        except OSError as error:
            raise _broken(error) from error
        if not data:
            raise _broken(None, self._way.said())
        return self._frames.feed(data)

    def _listen(self) -> None:
        silent_s = 0.0
        try:
            while not self._end.is_set():
                began = time.monotonic()
                frames = self._early or self._receive()
                self._early = []
                lives = frames or self._moved_at > began
                silent_s = 0.0 if lives else silent_s + time.monotonic() - began
                if silent_s > SILENCE_S:
                    raise trouble("link", f"the host has been silent for {silent_s:.0f} s")
                for kind, payload in frames:
                    self._hearing.hear(kind, payload)
        except (Garbage, wire.WireError) as error:
            self.is_garbage = True
            self._why = trouble("link", "the host says what no keeper says", why=str(error))
        except (HostTrouble, OSError, wire.Closed) as error:
            self._why = self._why or error
        except Exception as error:  # noqa: BLE001  one odd host shall not end the link of all
            self.is_garbage = True
            self._why = odd(error)
        finally:
            self._hearing.abandon()
            self._end.set()


def _broken(error: Exception | None, said_last: str = "") -> HostTrouble:
    if isinstance(error, HostTrouble):
        return error
    why = said_last or " ".join(str(error or "").split()) or "the other side hung up"
    return trouble("link", "the connection broke", why=why)
