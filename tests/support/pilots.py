"""Pilots of the engine `process`, seen from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.daemon import Daemon, end, family
from tests.support.scene import Scene
from tests.support.waiting import wait_until
from tests.support.wandering import steps_done, wander

T = TypeVar("T")

STEPS = 100  #: of a task that is evicted


def pilots(spool: Path) -> list[int]:
    """The processes that are pilots of this spool."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "pilot" in words and words[-2].startswith(f"{spool.resolve()}/agents/"):
                found.append(int(entry.name))
    return sorted(found)


def end_pilots(spool: Path) -> None:
    """kill -9 all of them, and see that nothing of theirs is left."""
    for pid in pilots(spool):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not pilots(spool), last=lambda: str(pilots(spool)))


CONFIG = """\
[intake]
settle_s = 0.1
[agents.pool]
kind = "process"
slots = {slots}
python = ["{python}"]
listen = "127.0.0.1:0"
max = {most}
{more}"""


class Fleet(Scene):
    """A daemon with pilots, which are processes of this machine."""

    def __init__(self, home: Path, *, most: int = 3, slots: int = 2, more: str = "") -> None:
        """`more` stands in the pilots' section, and may begin others."""
        home.mkdir(exist_ok=True)
        self.home = home
        config = CONFIG.format(most=most, slots=slots, python=sys.executable, more=more)
        self.daemon = Daemon(home, config=config)

    def close(self) -> None:
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.stop()
        end_pilots(self.daemon.spool)
        end(self.daemon)

    @property
    def folder(self) -> Path:
        """Where the link keeps its own."""
        return self.daemon.spool / "agents" / "pool" / "pilots"

    @property
    def port(self) -> int:
        """The one that pilots call."""
        return int(wait_until(lambda: (self.folder / "port").exists() and self._port()))

    def _port(self) -> str:
        return (self.folder / "port").read_text()

    def pilots(self) -> list[int]:
        """Their process ids."""
        return pilots(self.daemon.spool)

    def link(self) -> int:
        """The process of the section's link."""
        mark = b"\0spoolmw.agents.pilotlink\0"
        [found] = [pid for pid in family(self.daemon.pid) if mark in _words(pid)]
        return found

    def up(self) -> list[str]:
        """The seats whose pilots can take something."""
        return [name for name, each in self.agents().items() if each["slots"]]

    def wait_until(self, condition: Callable[[], T], timeout_s: float = 60.0) -> T:
        """Wait; when it is in vain, tell how the seats stand."""
        return wait_until(condition, timeout_s=timeout_s, last=self.told)

    def told(self) -> str:
        return f"{self.agents()}\n{self.pilots()}\n{self.daemon.log_text()[-2000:]}"


def _words(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def outlive_the_daemon(scene: Scene, folder: Path, pilots: Callable[[], list[T]]) -> None:
    """Six tasks run as the daemon is killed; the next finds their pilots, and nothing runs twice."""
    said, flag = (folder / f"{scene.daemon.home.name}-{each}" for each in ("said", "flag"))
    held = [scene.spool.submit(hold, n, str(flag), str(said)) for n in range(6)]
    wait_until(lambda: len(begun(said)) == 6, last=scene.daemon.log_text)
    before = pilots()
    scene.daemon.kill()
    flag.touch()
    later = [scene.spool.submit(note, n, str(said)) for n in range(6, 20)]
    scene.daemon.start()
    assert [each.result(60) for each in held] == list(range(6))
    assert [each.result(60) for each in later] == [n * n for n in range(6, 20)]
    assert sorted(begun(said)) == list(range(20))
    assert set(pilots()) == set(before)
    assert [len(scene.attempts(each.id)) for each in (*held, *later)] == [1] * 20


def go_on_elsewhere(scene: Scene, folder: Path, evict: Callable[[], object]) -> None:
    """A task whose pilot is evicted loses no more than the step at hand, and no retry."""
    said = folder / f"{scene.daemon.home.name}-steps"
    spool = scene.spool.options(checkpoint_every=1, retries=0)
    task = spool.submit(wander, STEPS, str(said), 0.1)
    wait_until(lambda: len(steps_done(said)) > 5, last=scene.daemon.log_text)
    evict()
    assert task.result(120) == wander(STEPS)
    first, last = scene.attempts(task.id)
    assert (first["outcome"], first["cause"]) == ("lost", "shutdown")
    assert "its host wanted its place back" in str(first["message"])
    assert last["outcome"] == "success"
    assert len(steps_done(said)) <= STEPS + 1, "at most the step at hand was done twice"


class Proxy:
    """A line between pilots and daemon that can be cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.target = 0  #: the daemon's port
        self.is_cut = False
        self.accepted = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """End all connections, and let none through."""
        self.is_cut = True
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def mend(self) -> None:
        self.is_cut = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.accepted += 1
                if self.is_cut:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def note(number: int, path: str, runs_s: float = 0.0) -> int:
    """Say that it was begun, take some time, return the square."""
    with open(path, "a") as file:
        file.write(f"{number}\n")
    time.sleep(runs_s)
    return number * number


def begun(path: Path) -> list[int]:
    """Which were begun, each as often as it was."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def hold(number: int, flag: str, path: str) -> int:
    """Say that it was begun, run until the flag is there."""
    note(number, path)
    until = time.monotonic() + 120
    while time.monotonic() < until and not os.path.exists(flag):
        time.sleep(0.01)
    return number
