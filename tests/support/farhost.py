"""A host without ssh: `attach` as a process whose standard streams are a socket, and its client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spoolmw.agents import bundle
from spoolmw.agents.ledger import kind_of
from spoolmw.model.agent import Launch
from spoolmw.runner import wire
from spoolmw.runner.order import lines
from tests.support.daemon import left_over

Told = dict[str, Any]


class Line:
    """A client of a keeper: says frames, and remembers what it is told with the bytes behind it."""

    def __init__(
        self, sock: socket.socket, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.child = child
        self.stream = wire.Stream(sock)
        self.events: list[Told] = []
        self.is_closed = False
        self.is_patient = True  #: says something every 2 s
        self.hello: Told = {}
        self._due = 0
        self._asked = 1
        self._at: Told = {}
        self._pinged_at = 0.0

    def say(self, verb: str, **told: Any) -> None:
        self.stream.send(wire.json_frame({"do": verb, **told}))

    def say_raw(self, tree: object, behind: bytes = b"") -> None:
        """What our own encoder would not say."""
        self.stream.send(wire.frame(json.dumps(tree).encode()) + behind)

    def ping(self) -> bool:
        """Be no silent client, without reading anything; always true."""
        if time.monotonic() - self._pinged_at > 2.0:
            self._pinged_at = time.monotonic()
            with contextlib.suppress(wire.Closed):
                self.say("ping", n=1)
        return True

    def send(self, data: bytes) -> None:
        self.stream.send(data)

    def bytes(self, data: bytes) -> None:
        """The bytes that were announced."""
        for start in range(0, len(data), 256 << 10):
            self.stream.send(wire.frame(data[start : start + (256 << 10)], wire.BYTES))

    def set_up(self, **more: Any) -> Told:
        """Introduce oneself; returns the hello."""
        told = {"protocol": 1, "agent": "lab:here", "slots": 2, "env": {}, "umask": 0o022}
        self.say("setup", **{**told, "instance": "i", **more})
        return self.until("hello")

    def put(self, place: str, data: bytes, **more: Any) -> None:
        self.say("put", place=place, bytes=len(data), **more)
        self.bytes(data)

    def launch(self, bench_root: Path, *work: Launch, **more: Any) -> None:
        """Bring the files of these attempts, and start them."""
        for each in work:
            self.put(each.path, (bench_root / each.path).read_bytes())
        self.say("launch", work=[[kind_of(each), [packet(each)]] for each in work], **more)

    def listen(self, seconds: float = 0.05) -> bool:
        """Take in what has come, waiting so long for the first; False at the end of the stream."""
        if self.is_patient:
            self.ping()
        waiter = select.poll()
        waiter.register(self.stream.fileno(), select.POLLIN)
        try:
            self.stream.flush()
            if waiter.poll(seconds * 1000):
                for kind, payload in self.stream.receive():
                    self._take(kind, payload)
        except wire.Closed:
            self.is_closed = True
            return False
        return True

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == wire.BYTES:
            assert 0 < len(payload) <= self._due, "bytes that nobody announced"
            self._at["body"] += payload
            self._due -= len(payload)
            if not self._due:
                self.events.append(self._at)
            return
        told = json.loads(payload)
        if told.get("bytes") and told["event"] != "hello":
            assert not self._due, f"{told['event']} amid the bytes of {self._at['event']}"
            self._at, self._due = {**told, "body": b""}, told["bytes"]
        else:
            self.events.append({**told, "body": b""})

    def until(self, event: str, timeout_s: float = 60.0, *, keep: bool = False) -> Told:
        """The first of these events that was not waited for yet."""
        return self.wait(
            lambda: next((each for each in self.events if each["event"] == event), None),
            timeout_s,
            take=not keep,
        )

    def try_to(self, act: Callable[[], None]) -> None:
        """Say something; that nobody is there any more is found when listening."""
        with contextlib.suppress(wire.Closed):
            act()

    def wait(
        self, condition: Callable[[], Any], timeout_s: float = 60.0, *, take: bool = False
    ) -> Any:
        """The first true answer of `condition`, asked at each news."""
        until = time.monotonic() + timeout_s
        while True:
            answer = condition()
            if answer:
                if take:
                    self.events.remove(answer)
                return answer
            assert time.monotonic() < until, f"waited in vain; heard {self.events}"
            assert not self.is_closed, f"the line is closed; heard {self.events}"
            self.listen()

    def until_closed(self, timeout_s: float = 60.0) -> None:
        until = time.monotonic() + timeout_s
        while self.listen():
            assert time.monotonic() < until, f"still open; heard {self.events}"

    def reports(self) -> dict[str, tuple[Told, bytes]]:
        """All reports that came, by attempt, each with its body."""
        found: dict[str, tuple[Told, bytes]] = {}
        for each in self.events:
            if each["event"] == "ended":
                start = 0
                for report in each["attempts"]:
                    size = report.get("body_bytes", 0)
                    found[report["attempt"]] = (report, each["body"][start : start + size])
                    start += size
        return found

    def report_of(self, work: Launch, timeout_s: float = 60.0) -> tuple[Told, bytes]:
        """The report of an attempt with the body behind it, whose digest is right."""
        report, body = self.wait(lambda: self.reports().get(str(work.attempt)), timeout_s)
        assert report["token"] == work.token
        if "digest" in report:
            assert hashlib.sha256(body).hexdigest() == report["digest"]
        return report, body

    def release(self, *work: Launch) -> None:
        self.say("release", attempts=[str(each.attempt) for each in work])

    def settle(self) -> None:
        """All that was said is understood, and all that follows from it was told."""
        self._asked += 1
        number = self._asked
        self.say("ping", n=number)
        self.wait(lambda: any(each.get("n") == number for each in self.events))

    def close(self) -> None:
        """The end of the stream: what a daemon's death looks like."""
        self.stream.close()
        self.is_closed = True
        if self.child is not None:
            self.child.wait(10)


class FarHost:
    """A folder on a host, with whatever keeper it has."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.archive = bundle.publish(base / "runner")
        self.folder = base / "host" / "spool"
        self.python = sys.executable
        self.lines: list[Line] = []

    def attach(self, folder: Path | None = None) -> Line:
        """A connection to the keeper, before its setup."""
        ours, theirs = socket.socketpair()
        with theirs:
            child = subprocess.Popen(
                [self.python, str(self.archive), "attach", str(folder or self.folder)],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.lines.append(Line(ours, child))
        return self.lines[-1]

    def client(self, **setup: Any) -> Line:
        """A connection that has said who it is; its hello is in `line.hello`."""
        line = self.attach()
        line.hello = line.set_up(**setup)
        return line

    def keeper_pid(self) -> int:
        """The pid of the process that holds the lock; 0 when there is none."""
        return next(iter(self.processes("keeper")), 0)

    def runner_pid(self) -> int:
        return next(iter(self.processes("runner")), 0)

    def processes(self, verb: str) -> list[int]:
        """What runs of our archive with that verb."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if str(self.archive).encode() in words and verb.encode() in words:
                    found.append(int(entry.name))
        return sorted(found)

    def reboot(self) -> None:
        """All that runs is dead at once; what lies on the disk stays."""
        for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody sees another die
            for verb in ("keeper", "attach", "runner", "worker"):
                for pid in self.processes(verb):
                    kill(pid, number)
        gone = ("keeper", "runner", "worker")
        until = time.monotonic() + 10
        while any(self.processes(verb) for verb in gone):
            assert time.monotonic() < until
            time.sleep(0.01)

    def path(self, relative: str) -> Path:
        return self.folder / relative

    def listed(self, relative: str) -> list[str]:
        return sorted(os.listdir(self.folder / relative))

    def end(self) -> None:
        for line in self.lines:
            line.close()
        for verb in ("keeper", "runner", "worker"):
            for pid in self.processes(verb):
                kill(pid)
        for pid, _ in left_over(self.folder):  # a worker was killed before it ended its command
            kill(pid)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def packet(work: Launch) -> str:
    return lines(str(work.attempt), work.token, work.path)


def names(work: Iterable[Launch]) -> list[str]:
    return [str(each.attempt) for each in work]
