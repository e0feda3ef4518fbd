"""Asks the running daemon over `control.sock`; shared by the helper and `spoolmw-ctl`.

Rule: whatever keeps the daemon from answering is `NotServed`; what it answers as an error is
raised as the error that it names. docs/control.md has the protocol.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spoolmw import errors
from spoolmw.errors import NotServed, SpoolmwError
from spoolmw.spooldir.where import ASK_AS, start_command

VERSION = 1
#: Seconds without an answer after which the daemon counts as not serving.
TIMEOUT_S = 5.0
#: Requests that are under way at once on one connection; the daemon allows 64.
WINDOW = 32
_CHUNK = 65536


class ControlClient:
    """A connection to the daemon of one spool, made when first needed. Threads may share it."""

    def __init__(self, root: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self.path = Path(root).absolute() / "control.sock"
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._unread = bytearray()
        self._last_id = 0

    def request(self, verb: str, args: Mapping[str, object] | None = None) -> Any:
        """The `data` of the daemon's answer. NotServed when it is down, else its own error."""
        [answer] = self.requests(verb, [args or {}])
        if isinstance(answer, SpoolmwError):
            raise answer
        return answer

    def requests(self, verb: str, many: Sequence[Mapping[str, object]]) -> list[Any]:
        """Ask the same of many things at once; an answer that is an error stands in its place."""
        with self._lock:
            try:
                return self._exchange(verb, many)
            except (OSError, ValueError) as error:
                self._disconnect()
                raise self._not_served(error) from error

    def stream(self, verb: str, args: Mapping[str, object] | None = None) -> Iterator[Any]:
        """Each `data` of an answer that comes in several lines."""
        with self._lock:
            try:
                sock = self._connected()
                number = self._send(sock, verb, args or {})
                while True:
                    answer = self._receive(sock)
                    if answer.get("id") != number:
                        continue
                    data = _data(answer)
                    if isinstance(data, SpoolmwError):
                        raise data
                    if data is not None or answer.get("more"):
                        yield data
                    if not answer.get("more"):
                        return
            except (OSError, ValueError) as error:
                self._disconnect()
                raise self._not_served(error) from error
            except GeneratorExit:
                self._disconnect()  # what is still to come belongs to nobody
                raise

    def close(self) -> None:
        """Give the connection back. The next request makes a new one."""
        with self._lock:
            self._disconnect()

    def __del__(self) -> None:
        sock = getattr(self, "_sock", None)
        if sock is not None:
            sock.close()  # nobody can ask over it any more

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _exchange(self, verb: str, many: Sequence[Mapping[str, object]]) -> list[Any]:
        sock = self._connected()
        answers: dict[int, Any] = {}
        numbers: list[int] = []
        for args in many:
            if len(numbers) - len(answers) >= WINDOW:
                self._take_answer(sock, answers)
            numbers.append(self._send(sock, verb, args))
        while len(answers) < len(numbers):
            self._take_answer(sock, answers)
        return [answers[number] for number in numbers]

    def _take_answer(self, sock: socket.socket, answers: dict[int, Any]) -> None:
        answer = self._receive(sock)
        number = answer.get("id")
        if not isinstance(number, int):
            raise ValueError("an answer without a number")
        answers[number] = _data(answer)

    def _send(self, sock: socket.socket, verb: str, args: Mapping[str, object]) -> int:
        self._last_id += 1
        asked = {"v": VERSION, "id": self._last_id, "verb": verb, "args": args}
        sock.sendall(json.dumps(asked, separators=(",", ":")).encode() + b"\n")
        return self._last_id

    def _receive(self, sock: socket.socket) -> dict[str, Any]:
        while (end := self._unread.find(b"\n")) < 0:
            data = sock.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            self._unread += data
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("an answer that is not an object")
        return answer

    def _connected(self) -> socket.socket:
        if self._sock is not None and not _is_quiet(self._sock):
            self._disconnect()  # the daemon was started again since
        if self._sock is None:
            self._sock = _connect(self.path, self._timeout_s)
        return self._sock

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._unread.clear()

    def _not_served(self, error: Exception) -> NotServed:
        fix = f"start it: {start_command(self.path.parent)}"
        if isinstance(error, TimeoutError):
            why = f"it took the connection, but did not answer within {self._timeout_s:g} s"
        elif isinstance(error, PermissionError):
            why = "this user may not open the socket"
            fix = ASK_AS
        elif isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            why = "no daemon runs on this spool"
        else:
            why = str(error)
        return NotServed(
            f"spoolmwd does not answer on {self.path}.",
            why=why,
            fix=fix,
        )


def _connect(path: Path, timeout_s: float) -> socket.socket:
    """Connect through the folder's descriptor: a socket's path has only 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(timeout_s)
            sock.connect(f"/proc/self/fd/{folder}/{path.name}")
        except BaseException:
            sock.close()
            raise
    finally:
        os.close(folder)
    return sock


def _is_quiet(sock: socket.socket) -> bool:
    """True while the other side neither closed nor said anything unasked."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _data(answer: Mapping[str, Any]) -> Any:
    """What an answer carries: its data, or the error that it names."""
    if answer.get("ok"):
        return answer.get("data")
    told = answer.get("error")
    if not isinstance(told, dict):
        return SpoolmwError("the daemon refused without saying why")
    kind = getattr(errors, str(told.get("type")), SpoolmwError)
    if not (isinstance(kind, type) and issubclass(kind, SpoolmwError)):
        kind = SpoolmwError
    return kind(
        str(told.get("what", "")), why=str(told.get("why", "")), fix=str(told.get("fix", ""))
    )
