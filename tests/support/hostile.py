"""What a host may run in the place of our program: `python -m tests.support.hostile FOLDER`.

It lands and says hello as a keeper does, and then does what the file FOLDER/wrong names (`WRONGS`)
with the first attempt that it is given. What it was told stands in FOLDER/told.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spoolmw.agents.sshlink.landing import WORD
from spoolmw.runner import wire

Told = dict[str, Any]
_BODY = b"not what was asked for"
_PIECE = bytes(1 << 20)


class Hostile:
    """One connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._in = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  stays open
        self.is_done = False

    def say(self, tree: Told, body: bytes = b"") -> None:
        self.raw(wire.json_frame(tree) + (wire.frame(body, wire.BYTES) if body else b""))

    def raw(self, data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]

    def land(self) -> None:
        """As `landing` does; what came before is the list of Pythons and the program."""
        for _ in range(3):
            self._in.readline()
        first = {"need": False, "executable": sys.executable, "python": "3.11.2"}
        for answer in (first, {"ready": True, "base": "/var/tmp"}):
            self.raw(f"{WORD}{json.dumps(answer)}\n".encode())

    def hear(self) -> Told:
        """The next header; the bytes behind it are passed over."""
        while True:
            head = self._exactly(5)
            payload = self._exactly(int.from_bytes(head[:4], "big"))
            if head[4] == wire.JSON:
                return dict(json.loads(payload))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._in.read(size - len(data))
            if not more:
                sys.exit()
            data += more
        return data

    def serve(self) -> None:
        self.land()
        self.hear()
        self.say({"event": "hello", **hello()})
        self.say({"event": "told"})
        while True:
            told = self.hear()
            with open(self.folder / "told", "a") as file:
                file.write(f"{json.dumps(told)}\n")
            if told["do"] == "ping":
                self.say({"event": "pong", "n": told["n"], "wall": time.time()})
            elif told["do"] == "launch" and not self.is_done:
                self.is_done = True
                attempt, token, *_ = told["work"][0][1][0].split("\n")
                wrong = (self.folder / "wrong").read_text()
                WRONGS[wrong](self, report(attempt, token))


def hello() -> Told:
    nothing: list[str] = []
    return {
        "cores": 2,
        "memory": 1 << 33,
        "host": socket.gethostname(),
        "machine": "m",
        "python": "3.11.2",
        "platform": "linux-x86_64",
        "clock": time.time(),
        "live": nothing,
        "outbox": nothing,
        "inputs": nothing,
        "pythons": {f"3.{sys.version_info[1]}": sys.executable},
    }


def report(attempt: str, token: str) -> Told:
    """A success with `_BODY`."""
    now = time.time()
    return {
        "attempt": attempt,
        "token": token,
        "started": now,
        "ended": now,
        "cpu_s": 0.0,
        "memory_bytes": 0,
        "outcome": "success",
        "cause": "finished",
        "body_bytes": len(_BODY),
        "digest": hashlib.sha256(_BODY).hexdigest(),
    }


def _ended(told: Told, **changes: Any) -> Told:
    entry = {**told, **changes}
    return {"event": "ended", "attempts": [entry], "bytes": entry["body_bytes"]}


def _anothers(host: Hostile, told: Told) -> None:
    """The result of a task that runs elsewhere; its own attempt is as silent as the grave."""
    victim = (host.folder / "victim").read_text()
    host.say(_ended(told, attempt=f"{victim}.0.1"), _BODY)


def _token(host: Hostile, told: Told) -> None:
    host.say(_ended(told, token="f" * 32), _BODY)


def _digest(host: Hostile, told: Told) -> None:
    host.say(_ended(told, digest="0" * 64), _BODY)


def _endless_result(host: Hostile, told: Told) -> None:
    host.say(_ended(told, body_bytes=10))
    while True:
        host.raw(wire.frame(_PIECE, wire.BYTES))


def _endless_files(host: Hostile, told: Told) -> None:
    size = 1 << 33
    files = [["out", 0o644, size]]
    host.say({"event": "files", "attempt": told["attempt"], "files": files, "bytes": size})
    while True:
        host.raw(wire.frame(_PIECE, wire.BYTES))


def _names(host: Hostile, told: Told) -> None:
    files = [["../../../results/planted", 0o644, len(_BODY)]]
    head = {"event": "files", "attempt": told["attempt"], "files": files}
    host.say({**head, "bytes": len(_BODY)}, _BODY)


def _noise(host: Hostile, _told: Told) -> None:
    while True:
        host.raw(os.urandom(1 << 16))


def _endless_header(host: Hostile, _told: Told) -> None:
    host.raw((0xFFFFFFFF).to_bytes(4, "big") + b"J")
    while True:
        host.raw(b"[" * (1 << 20))


#: What it does with the first attempt that it is given.
WRONGS: Mapping[str, Callable[[Hostile, Told], None]] = {
    "anothers": _anothers,
    "token": _token,
    "digest": _digest,
    "endless result": _endless_result,
    "endless files": _endless_files,
    "names": _names,
    "noise": _noise,
    "endless header": _endless_header,
}

if __name__ == "__main__":
    Hostile(Path(sys.argv[1])).serve()
