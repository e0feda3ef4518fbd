"""The control socket: versioned JSON Lines, served by one thread; it decides nothing.

Each request becomes a `Request` on the reactor's inbox (or is answered from the journal's
read-only view, if it only reads), and its answer is written when it comes. Peer credentials
are the authentication. A connection may have `MAX_PENDING` requests open; a line may have
`MAX_LINE_BYTES`; a half line that does not grow for `IDLE_S` closes its connection. A socket
whose name somebody removed gets it again within `LOOK_S`.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spoolmw.daemon.logs import fields, log
from spoolmw.errors import SpoolmwError

VERSION = 1
MAX_LINE_BYTES = 1 << 20
MAX_CLIENTS = 64
MAX_PENDING = 64
IDLE_S = 30.0
LOOK_S = 5.0
MAX_ID = 256
PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks: `SO_PEERCRED` of the connection."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `reply` may be called from any thread, once."""

    verb: str
    args: dict[str, object]
    peer: Peer
    reply: Callable[[object], None]


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    peer: Peer
    inbuf: bytearray = field(default_factory=bytearray)
    outbuf: bytearray = field(default_factory=bytearray)
    pending: int = 0
    last: float = 0.0


class ControlServer:
    """Listens on `control.sock`. `handle` takes each request; it must not block."""

    def __init__(
        self, path: Path, handle: Callable[[Request], None], *, group: int | None = None
    ) -> None:
        self._handle = handle
        self._path = path
        self._group = group
        self._listener = _bind(path, group)
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._answers: deque[tuple[_Client, bytes]] = deque()
        self._stop = False
        self._look_at = 0.0
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what is still to be sent, then close everything and remove the socket's name."""
        self._stop = True
        if self._thread.is_alive():
            self._wake()
            self._thread.join(2.0)
        self._listener.close()
        self._selector.close()
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._path.unlink(missing_ok=True)

    def _wake(self) -> None:
        try:
            os.write(self._wake_w, b"x")
        except BlockingIOError:
            return  # a wake-up is already waiting

    def _run(self) -> None:
        clients: dict[int, _Client] = {}
        while True:
            for key, mask in self._selector.select(timeout=LOOK_S):
                if key.fileobj is self._listener:
                    self._accept(clients)
                elif key.fd == self._wake_r:
                    os.read(self._wake_r, 4096)
                elif (client := clients.get(key.fd)) is not None:
                    self._serve(clients, client, mask)
            self._flush_answers(clients)
            self._drop_idle(clients)
            if self._stop:
                break
            self._mend_name()
        for client in clients.values():
            client.sock.close()

    def _mend_name(self) -> None:
        """The daemon could not be reached any more, if a tool that cleans up took the name away."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        if self._path.exists():
            return
        try:
            fresh = _bind(self._path, self._group)
        except OSError as error:  # the spool's folder is away: again later
            log.warning("no control socket %s", fields(path=self._path, why=error))
            return
        log.warning(
            "the control socket was removed, and is made anew %s", fields(path=self._path)
        )
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = fresh
        self._selector.register(fresh, selectors.EVENT_READ)

    def _accept(self, clients: dict[int, _Client]) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(
                PAUSE_S
            )  # no descriptor is left: the caller waits, and this does not spin
            return
        if len(clients) >= MAX_CLIENTS and not self._make_room(clients):
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003  # its own signature
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        client = _Client(sock, Peer(*struct.unpack("3i", raw)), last=time.monotonic())
        clients[sock.fileno()] = client
        self._selector.register(sock, selectors.EVENT_READ)

    def _make_room(self, clients: dict[int, _Client]) -> bool:
        """Hang up on who has been silent for the longest and waits for nothing."""
        idle = [c for c in clients.values() if not (c.pending or c.outbuf)]
        if not idle:
            return False
        self._drop(clients, min(idle, key=lambda client: client.last))
        return True

    def _drop(self, clients: dict[int, _Client], client: _Client) -> None:
        fd = client.sock.fileno()
        if clients.pop(fd, None) is not None:
            self._selector.unregister(client.sock)
            client.sock.close()

    def _drop_idle(self, clients: dict[int, _Client]) -> None:
        now = time.monotonic()
        for client in list(clients.values()):
            if client.inbuf and now - client.last > IDLE_S:
                self._drop(clients, client)

    def _serve(self, clients: dict[int, _Client], client: _Client, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and not self._send(client):
            self._drop(clients, client)
            return
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.inbuf += data
        client.last = time.monotonic()
        if not data or not self._lines(client):
            self._drop(clients, client)

    def _lines(self, client: _Client) -> bool:
        """Hand on every whole line; False closes the connection."""
        while (end := client.inbuf.find(b"\n")) >= 0:
            line = bytes(client.inbuf[:end])
            del client.inbuf[: end + 1]
            if client.pending >= MAX_PENDING:
                return False
            self._request(client, line)
        return len(client.inbuf) <= MAX_LINE_BYTES

    def _request(self, client: _Client, line: bytes) -> None:
        client.pending += 1
        number: object = None

        def reply(answer: object) -> None:
            self._answers.append((client, _encode(number, answer)))
            self._wake()

        try:
            asked = json.loads(line)
            if isinstance(asked, dict):
                number = _number(asked.get("id"))
            verb, args = _checked(asked)
        except (ValueError, RecursionError, SpoolmwError) as error:
            wrong = error if isinstance(error, SpoolmwError) else _not_json()
            reply(wrong)
            return
        self._handle(Request(verb, args, client.peer, reply))

    def _flush_answers(self, clients: dict[int, _Client]) -> None:
        while self._answers:
            client, line = self._answers.popleft()
            client.pending -= 1
            if clients.get(client.sock.fileno()) is client:
                client.outbuf += line
                if not self._send(client):
                    self._drop(clients, client)

    def _send(self, client: _Client) -> bool:
        try:
            while client.outbuf:
                sent = client.sock.send(client.outbuf)
                del client.outbuf[:sent]
        except BlockingIOError:
            pass  # the rest goes when the socket is writable again
        except OSError:
            return False
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outbuf else 0)
        self._selector.modify(client.sock, events)
        return len(client.outbuf) <= 64 * MAX_LINE_BYTES


def _bind(path: Path, group: int | None) -> socket.socket:
    """Bind through the folder's descriptor: a socket's path has only 107 bytes.

    The daemon's user may connect, and with `group` its members.
    """
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(0o660 if group is not None else 0o600)
    listener.setblocking(False)  # noqa: FBT003  # its own signature
    listener.listen(MAX_CLIENTS)
    return listener


def _number(number: object) -> object:
    """The request's id, to be given back as it came; anything but a number or a short text is none."""
    is_short = isinstance(number, str) and len(number) <= MAX_ID
    return number if is_short or isinstance(number, int | float) else None


def _not_json() -> SpoolmwError:
    return SpoolmwError("the request is not one line of JSON", fix="see docs/control.md")


def _checked(asked: object) -> tuple[str, dict[str, object]]:
    if not isinstance(asked, dict) or not isinstance(asked.get("verb"), str):
        raise SpoolmwError("the request has no verb", fix='send {"v":1,"id":1,"verb":"ping"}')
    if asked.get("v") != VERSION:
        raise SpoolmwError(
            f"the request's version is {asked.get('v')!r}", why=f"this daemon speaks {VERSION}"
        )
    args = asked.get("args", {})
    if not isinstance(args, dict):
        raise SpoolmwError("`args` is not an object", fix="see docs/control.md")
    return asked["verb"], args


def _encode(number: object, answer: object) -> bytes:
    reply: dict[str, object] = {"id": number, "ok": not isinstance(answer, SpoolmwError)}
    if isinstance(answer, SpoolmwError):
        kind = type(answer).__name__
        reply["error"] = {
            "type": kind,
            "what": answer.what,
            "why": answer.why,
            "fix": answer.fix,
        }
    else:
        reply["data"] = answer
    return json.dumps(reply, separators=(",", ":"), default=str).encode() + b"\n"
