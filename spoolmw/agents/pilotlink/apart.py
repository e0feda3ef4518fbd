"""An engine in a process of its own: a library that holds the interpreter while it waits for its
batch system keeps no pilot waiting, and one that never comes back is killed.

One JSON line for each call and each answer. The process ends with the link.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.pilotlink.engine import Engine, EngineTrouble, Job, Pilot, Post
from spoolmw.runner import process

PATIENCE_S = 120.0  #: for one call
_MODULE = "spoolmw.agents.pilotlink.apart"
_PATHS = ("spool", "folder", "archive")


class Apart:
    """Fulfils `engine.Engine`; begins the process anew when it died."""

    def __init__(self, factory: str, post: Post) -> None:
        """`factory` is `module:name`. Raises EngineTrouble when the engine cannot be made."""
        told = {**post._asdict(), **{each: str(getattr(post, each)) for each in _PATHS}}
        self._first = json.dumps([factory, told]).encode() + b"\n"
        self._child: subprocess.Popen[bytes] | None = None
        self._have = b""
        try:
            self.poll_s = float(self._call("poll_s"))
        except EngineTrouble:
            self._end()
            raise

    def submit(self, pilots: Sequence[Pilot]) -> None:
        self._call("submit", [[each.seat, str(each.order), each.digest] for each in pilots])

    def listed(self) -> Sequence[Job]:
        return [Job(*each) for each in self._call("listed")]

    def remove(self, jobs: Sequence[Job]) -> None:
        self._call("remove", [list(each) for each in jobs])

    def last_words(self, digest: str) -> str:
        return str(self._call("last_words", digest))

    def _call(self, name: str, *args: Any) -> Any:
        try:
            child = self._begun()
            assert child.stdin is not None
            child.stdin.write(json.dumps([name, *args]).encode() + b"\n")
            child.stdin.flush()
            answer = json.loads(self._line(child))
        except (OSError, ValueError) as error:
            self._end()
            raise EngineTrouble(f"the engine's process died ({name}): {error}") from error
        if "error" in answer:
            raise EngineTrouble(answer["error"])
        return answer["value"]

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._child.stdin is not None
            self._child.stdin.write(self._first)
        return self._child

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdout is not None
        while b"\n" not in self._have:
            poll = select.poll()
            poll.register(child.stdout, select.POLLIN)
            if not poll.poll(PATIENCE_S * 1000):
                raise TimeoutError(f"no answer in {PATIENCE_S:.0f} s")
            more = os.read(child.stdout.fileno(), 1 << 16)
            if not more:
                raise OSError("it ended")
            self._have += more
        line, _, self._have = self._have.partition(b"\n")
        return line

    def _end(self) -> None:
        child, self._child, self._have = self._child, None, b""
        if child is not None:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _answer(engine: Engine, call: list[Any]) -> Any:
    name, *args = call
    match name:
        case "submit":
            engine.submit([Pilot(seat, Path(order), digest) for seat, order, digest in args[0]])
            return None
        case "listed":
            return [list(each) for each in engine.listed()]
        case "remove":
            engine.remove([Job(*each) for each in args[0]])
            return None
        case "last_words":
            return engine.last_words(args[0])
        case _:
            return engine.poll_s


def _made(factory: str, told: dict[str, Any]) -> Engine:
    module, _, name = factory.partition(":")
    post = Post(**{**told, **{each: Path(told[each]) for each in _PATHS}})
    made: Engine = getattr(importlib.import_module(module), name)(post)
    return made


def main(argv: list[str]) -> int:
    """Serve one engine until the link is gone."""
    process.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(argv[0]):
        return 1
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    engine: Engine | None = None
    factory, told = json.loads(sys.stdin.buffer.readline())
    for line in sys.stdin.buffer:
        try:
            engine = engine or _made(factory, told)
            answer = {"value": _answer(engine, json.loads(line))}
        except EngineTrouble as error:
            answer = {"error": " ".join(str(error).split())[:500]}
        except Exception as error:  # noqa: BLE001  whatever an engine raises is told
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
