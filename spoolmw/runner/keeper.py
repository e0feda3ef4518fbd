"""The keeper of a host's folder: `ARCHIVE keeper FOLDER [TERMS]`. It outlives connections and daemons.

It stands between a client (the daemon's link, through `attach`) and the host's runner: orders
pass through, files are put where the workers look for them, reports are kept until their release.

Rule 1: without a client work goes on; what ends meanwhile waits on the shelf.
Rule 2: there is one client, the last that came; whoever says what is not the protocol is cut off.
Rule 3: one keeper for a folder: who holds its lock. It ends when the folder is gone.
Rule 4: in a batch job (`TERMS`, see `jobterms`) it ends with the job: with the process that started
it, at its signal TERM, and when its time is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from . import charge, hostfolder, process, tidy, wire
from .client import Client
from .duty import Duty
from .hostfolder import HostFolder
from .jobterms import JobTerms

_NOT_THE_PROTOCOL = (
    wire.WireError, LookupError, TypeError, ValueError, AttributeError,
    ArithmeticError, RecursionError,
)  # fmt: skip
_LOOK_S = 1.0  #: between two looks at the folder and the clocks
_AT_CLOSE_S = 5.0  #: after the grace, for the client to take what is left


class Keeper:
    """Everything of one keeper process."""

    def __init__(self, folder: HostFolder, archive: str, terms: Optional[JobTerms]) -> None:
        self._folder = folder
        self._terms = terms
        self._selector = selectors.DefaultSelector()
        self._duty = Duty(folder, archive, self._watch_runner)
        self._clients: List[Client] = []
        self._idle_since = time.monotonic()
        self._look_at = 0.0
        self._is_over = False
        self._listener = _listen(folder)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if terms is not None:
            self._selector.register(terms.wakes, selectors.EVENT_READ, terms.awake)

    def run(self) -> None:
        """Serve until nobody needs it any more."""
        try:
            while not self._is_over:
                for key, _ in self._selector.select(self._timeout()):
                    act: Callable[[], None] = key.data
                    act()
                self._turn(time.monotonic())
        finally:
            self._end()

    def _timeout(self) -> float:
        return max(0.0, min(_LOOK_S, self._duty.due_at - time.monotonic()))

    def _turn(self, now: float) -> None:
        """What follows from what happened."""
        if self._terms is not None and self._terms.is_recalled and not self._duty.closed_at:
            self._say("the job is to end")
            self._duty.vacate(self._terms.grace_s)
        self._duty.turn(now)
        for client in list(self._clients):
            self._serve(client, now)
        self._follow_runner()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look(now)

    def _look(self, now: float) -> None:
        """Is it needed any more?"""
        if self._clients or self._duty.is_busy or self._must_wait(now):
            self._idle_since = now
        if not self._folder.is_ours():
            self._is_over = True
            self._duty.runner.kill()
        elif self._duty.closed_at and self._is_settled(now):
            self._is_over = True
        elif now - self._idle_since > self._linger_s(now):
            self._say("nobody needs it any more")
            self._is_over = True

    def _must_wait(self, now: float) -> bool:
        """In a job: reports that nobody fetched yet are waited with until its time is over."""
        return (
            self._terms is not None and not self._terms.is_over(now) and self._duty.has_reports
        )

    def _linger_s(self, now: float) -> float:
        if self._terms is None:
            return self._duty.linger_s
        return 0.0 if self._terms.is_over(now) else self._terms.idle_s

    def _is_settled(self, now: float) -> bool:
        told = all(client.sending.is_empty for client in self._clients)
        return not self._duty.runner.is_there and (
            told or now > self._duty.closed_at + _AT_CLOSE_S
        )

    def _say(self, text: str) -> None:
        self._folder.log(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    # -- clients

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            client = Client(sock, self._duty.ground)
            self._clients.append(client)
            self._selector.register(
                client.stream, selectors.EVENT_READ, lambda: self._hear(client)
            )

    def _hear(self, client: Client) -> None:
        if client not in self._clients:
            return  # it was cut off in this very turn
        try:
            for kind, payload in client.receive():
                if kind == wire.BYTES:
                    client.take(payload)
                else:
                    self._obey(client, json.loads(payload))
                if client not in self._clients:
                    return
        except wire.Closed as error:
            self._cut(client, str(error))
        except _NOT_THE_PROTOCOL as error:
            self._cut(client, f"not the protocol: {error!r}", tell=True)

    def _obey(self, client: Client, told: Dict[str, Any]) -> None:
        verb = told["do"]
        if client.obeys(verb, told):
            return
        if verb == "client":
            if self._duty.is_outdated(told["archive"], told.get("python")):
                self._say("a client brings another version")
                self._is_over = True
            else:
                client.sending.at_once({"event": "ready"})
        elif verb == "setup":
            self._welcome(client, told)
        elif not client.is_set_up:
            raise wire.WireError(f"{verb} before setup")
        elif client is self._duty.client:
            self._duty.obey(verb, told)

    def _welcome(self, client: Client, told: Dict[str, Any]) -> None:
        """It is the client from now on; the one before is told so."""
        for other in list(self._clients):
            if other is not client and other.is_set_up:
                with contextlib.suppress(wire.Closed):
                    other.sending.at_once({"event": "replaced"})
                self._cut(other, "replaced")
        self._duty.set_up(client, told)
        client.is_set_up = True
        self._say(f"client {client.number}: agent {told['agent']}")

    def _serve(self, client: Client, now: float) -> None:
        """Send what there is for a client; cut it off when it is silent."""
        try:
            client.pump()
        except wire.Closed as error:
            self._cut(client, str(error))
            return
        if client.is_silent(now):
            self._cut(client, "nothing was heard of it")
        elif client.wants_to_write != client.watched_to_write:
            client.watched_to_write = client.wants_to_write
            write = selectors.EVENT_WRITE if client.wants_to_write else 0
            self._selector.modify(
                client.stream, selectors.EVENT_READ | write, lambda: self._hear(client)
            )

    def _cut(self, client: Client, why: str, *, tell: bool = False) -> None:
        if client not in self._clients:
            return
        self._say(f"client {client.number} is gone: {why}")
        if tell:
            with contextlib.suppress(wire.Closed):
                client.sending.at_once({"event": "error", "why": why[:1000]})
        self._clients.remove(client)
        self._selector.unregister(client.stream)
        self._duty.lose(client)
        client.close()

    # -- the runner

    def _watch_runner(self, runner: charge.Charge, *, begins: bool) -> None:
        """A runner was started, or is about to be buried."""
        if begins:
            self._selector.register(runner.stream, selectors.EVENT_READ, self._duty.runner.hear)
            self._selector.register(runner.pidfd, selectors.EVENT_READ, self._duty.runner.bury)
            self._runner_writes = False
        else:
            self._selector.unregister(runner.stream)
            self._selector.unregister(runner.pidfd)

    def _follow_runner(self) -> None:
        stream = self._duty.runner.flush()
        if stream is not None and stream.unsent != self._runner_writes:
            self._runner_writes = stream.unsent
            write = selectors.EVENT_WRITE if stream.unsent else 0
            self._selector.modify(stream, selectors.EVENT_READ | write, self._duty.runner.hear)

    def _end(self) -> None:
        """Leave nothing running."""
        with contextlib.suppress(OSError):
            if self._folder.is_ours():
                os.unlink(self._folder.path(hostfolder.SOCKET))
        self._listener.close()
        for client in list(self._clients):
            self._cut(client, "the keeper ends")
        self._duty.end()


def _listen(folder: HostFolder) -> socket.socket:
    """The socket in the folder; it is there when it is listened to."""
    os.chdir(folder.root)  # an address has at most 107 bytes
    half = f".{hostfolder.SOCKET}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(half)
    listener.listen(8)
    listener.setblocking(False)  # noqa: FBT003  a client may go before it is accepted
    os.rename(half, hostfolder.SOCKET)
    return listener


def main(argv: List[str], archive: str) -> int:
    """Keep a folder; at once over when another does."""
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terms = JobTerms(argv[1]) if len(argv) > 1 else None
    try:
        folder = hostfolder.make(argv[0], in_job=terms is not None)
    except hostfolder.Unfit as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not folder.take_lock():
        return 0
    process.become_subreaper()
    tidy.hold(archive)
    tidy.remove_old(archive)
    Keeper(folder, archive, terms).run()
    return 0
