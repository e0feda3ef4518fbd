"""Frames (`runner.wire`) of a stream that comes in pieces, and a socket that two threads may use."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
from typing import Any

from spoolmw.runner import wire

_HEAD = struct.Struct(">IB")


class Frames:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._have = bytearray()

    def feed(self, data: bytes) -> list[wire.Frame]:
        """The frames that are whole by now. Raises wire.WireError for what is no frame."""
        have = self._have
        have += data
        found: list[wire.Frame] = []
        at = 0
        with memoryview(have) as view:
            while len(have) - at >= _HEAD.size:
                length, kind = _HEAD.unpack_from(have, at)
                if length > wire.MAX_PAYLOAD or kind not in (wire.JSON, wire.BYTES):
                    raise wire.WireError(f"no frame: length {length}, type {kind}")
                end = at + _HEAD.size + length
                if end > len(have):
                    break
                found.append((kind, bytes(view[at + _HEAD.size : end])))
                at = end
        if at:
            del have[:at]
        return found


class DaemonSide:
    """The stream to the agent in the daemon. Any thread may tell, or ring; one thread hears."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003  the standard library's own signature
        self._sock = sock
        self._bell = -1
        self._frames = Frames()
        self._lock = threading.Lock()

    def hang_bell(self) -> None:
        """From now on `ring` wakes who hears."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake who hears: there is something else for it to do."""
        os.eventfd_write(self._bell, 1)

    def tell(self, tree: dict[str, Any], data: bytes = b"") -> None:
        """Send a header and, if there are any, the bytes that it announces. Waits for room."""
        whole = wire.json_frame(tree)
        if data:
            whole += wire.frame(data, wire.BYTES)
        with self._lock:
            view = memoryview(whole)
            while view:
                try:
                    view = view[self._sock.send(view) :]
                except BlockingIOError:
                    _wait(self._sock, select.POLLOUT)
                except OSError as error:
                    raise wire.Closed(str(error)) from error

    def hear(self, timeout_s: float) -> list[dict[str, Any]]:
        """What the agent says within `timeout_s`; nothing is no error. Raises wire.Closed."""
        if not _wait(self._sock, select.POLLIN, max(0.0, timeout_s), self._bell):
            return []
        if self._bell >= 0:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        try:
            data = self._sock.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError as error:
            raise wire.Closed(str(error)) from error
        if not data:
            raise wire.Closed("the daemon is gone")
        return [json.loads(payload) for _, payload in self._frames.feed(data)]


def _wait(
    sock: socket.socket, event: int, timeout_s: float | None = None, bell: int = -1
) -> bool:
    """Whether the socket is ready; for hundreds of hosts the numbers are too high for select."""
    poll = select.poll()
    poll.register(sock, event)
    if bell >= 0:
        poll.register(bell, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
