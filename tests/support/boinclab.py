"""The link process of an agent of kind boinc with a spool, and a stand-in for the daemon at its stream."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.kinds import kind_of
from spoolmw.model.agent import Launch
from spoolmw.runner import order, wire
from tests.support.attempts import Bench
from tests.support.boincsite import free_port
from tests.support.fakeclient import FakeHost
from tests.support.waiting import wait_until

AGENT = "lab"


class Lab:
    """A link that serves between `start` and `kill`; what it tells is remembered."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.bench = Bench(root)
        self.root = root
        port = settings.pop("port", 0) or free_port()
        told: dict[str, Any] = {
            "root": root,
            "name": AGENT,
            "listen": f"127.0.0.1:{port}",
            "url": f"http://127.0.0.1:{port}/grid/",
            "project": "a lab",
            "is_trusted": False,
            "deadline_s": 3600.0,
            "poll_s": 1.0,
            "per_core": 2,
            "max_in_work_per_host": 100,
            "estimate_s": 60.0,
            "request_memory_bytes": 64 << 20,
            "request_disk_bytes": 1 << 20,
            "platforms": ("x86_64-pc-linux-gnu",),
            "preferences": (),
            "setup": {"env": {"PATH": "/usr/bin:/bin"}, "umask": 0o022, "values": "safe"},
            "bundle": "never",
        }
        self.brief = Brief(**{**told, **settings})
        self.told: list[dict[str, Any]] = []
        self.given: dict[str, tuple[dict[str, Any], str]] = {}  #: not released yet
        self._link = Link([AGENT], "spoolmw.agents.boinclink")
        self._stream: wire.Stream | None = None
        self._dead: wire.Stream | None = None
        self._ear: threading.Thread | None = None
        self._lock = threading.Condition()
        self.releases = True  #: what ended, as the daemon does

    # -- its life

    def start(self) -> None:
        """A new process, which is told what the last one had."""
        self._stream = self._link.stream(AGENT, self._dead)
        for kind, packet in self.given.values():
            self._tell({"do": "adopt", "work": [[kind, [packet]]]})
        self._tell({"do": "brief", "brief": self.brief.told()})
        count = len(self.told)
        self._ear = threading.Thread(target=self._listen, args=(self._stream,), daemon=True)
        self._ear.start()
        self.wait(lambda: any(e["event"] in ("told", "down") for e in self.told[count:]))
        assert not self.events("down"), self.told

    def kill(self) -> None:
        """kill -9."""
        self._link.kill()
        assert self._ear is not None
        self._ear.join(10)
        assert self._stream is not None
        self._stream.close()
        self._dead = self._stream

    def again(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self._link.close(AGENT)
        if self._ear is not None:
            self._ear.join(10)
        if self._stream is not None:
            self._stream.close()

    # -- the daemon's part

    def launch(self, work: Launch, **more: Any) -> str:
        """Give it an attempt; returns its name."""
        name = str(work.attempt)
        packet = order.lines(name, work.token, str(work.path))
        kind = {**kind_of(work), **more}
        self.given[name] = (kind, packet)
        self._tell({"do": "launch", "work": [[kind, [packet]]], "session": 1})
        return name

    def stop(self, name: str) -> None:
        self.given.pop(name, None)
        self._tell({"do": "stop", "attempts": [name], "wanted": False})
        self.wait(lambda: any(name in e["attempts"] for e in self.events("stopped")))

    def release(self, name: str) -> None:
        self.given.pop(name, None)
        self._tell({"do": "release", "attempts": [name]})

    def _tell(self, tree: dict[str, Any]) -> None:
        assert self._stream is not None
        with contextlib.suppress(wire.Closed):
            self._stream.send(wire.json_frame(tree))
            while self._stream.unsent:
                self._stream.flush()

    def _listen(self, stream: wire.Stream) -> None:
        with contextlib.suppress(wire.Closed, OSError, ValueError):
            while True:
                for tree in _frames(stream):
                    self._heed(tree)

    def _heed(self, tree: dict[str, Any]) -> None:
        if tree["event"] == "beat":
            return
        with self._lock:
            self.told.append(tree)
            self._lock.notify_all()
        if tree["event"] == "ended" and self.releases:
            for each in tree["attempts"]:
                if each.get("dead", True):
                    self.release(each["attempt"])

    # -- what was told

    def events(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.told if each["event"] == event]

    def entries(self, event: str, name: str) -> list[dict[str, Any]]:
        """What was told of an attempt."""
        found = (entry for each in self.events(event) for entry in each["attempts"])
        return [each for each in found if each["attempt"] == name]

    def wait(self, condition: Any, timeout_s: float = 60.0) -> Any:
        """The first true answer of `condition`, asked at each frame."""
        with self._lock:
            found = self._lock.wait_for(condition, timeout_s)
        assert found, f"waited {timeout_s} s in vain; heard {self.told}"
        return found

    def end_of(self, name: str) -> dict[str, Any]:
        """How an attempt ended; waits for it."""
        entries: list[dict[str, Any]] = self.wait(lambda: self.entries("ended", name))
        return entries[0]

    def start_of(self, name: str) -> dict[str, Any]:
        entries: list[dict[str, Any]] = self.wait(lambda: self.entries("started", name))
        return entries[0]

    # -- its process, people and files

    @property
    def pid(self) -> int:
        process = self._link._process
        assert process is not None
        return process.pid

    def key(self, owner: str = "ann") -> str:
        folder = self.brief.home / "accounts"
        known = {each.name: each for each in accounts.all_of(folder)}
        return (known.get(owner) or accounts.add(folder, owner)).key

    def host(self, name: str = "", *, owner: str = "ann", **facts: Any) -> FakeHost:
        return FakeHost(self.brief.url, self.key(owner), name=name, **facts)

    @property
    def uploads(self) -> list[str]:
        return sorted(os.listdir(self.brief.home / "uploads"))

    def wait_until_swept(self) -> None:
        wait_until(lambda: not self.uploads)


def _frames(stream: wire.Stream) -> Iterator[dict[str, Any]]:
    """What comes next; waits."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    poll.poll()
    for _, payload in stream.receive():
        yield json.loads(payload)
