"""The agent `local`: attempts run on this machine's cores, in the workers of one runner process.

Rule 1: the runner ends with the daemon; what an earlier one left is dead before anything starts.
Rule 2: a runner that dies is started again, with a pause that doubles; its attempts are lost,
and only those that really ran count towards "kills its worker".
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents import bundle
from spoolmw.agents.contract import Sink
from spoolmw.agents.hostagent import HostAgent
from spoolmw.agents.hostrunner import HostRunner
from spoolmw.agents.ledger import Ledger, Loss
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Capacity, CapacityChanged
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AgentName, AttemptId
from spoolmw.runner import endings, host, outputs, process, wire

_FIRST_PAUSE_S = 0.1  #: before a dead runner is started again; doubles
_LONGEST_PAUSE_S = 30.0
_HEALTHY_S = 60.0  #: a runner that lived so long starts the pauses anew
_AFTER_GRACE_S = 5.0  #: for the runner to end after the grace
_TAIL_BYTES = 64 << 10
_STREAMS = {"stdout": "out", "stderr": "err"}


class LocalAgent(HostAgent):
    """Runs attempts on this machine. One thread of its own reads what the runner says."""

    judges = True

    def __init__(self, name: AgentName, root: Path, settings: AgentConfig, sink: Sink) -> None:
        self._host = settings.machine or os.uname().nodename
        self._machine = host.machine(settings.machine)
        self._platform = host.platform_name()
        super().__init__(name, sink, Ledger(self._host, self._machine))
        self._root = root.resolve()
        self._settings = settings
        self._slots = settings.slots or host.usable_cores()
        self._memory_bytes = settings.memory_bytes or host.usable_memory()
        self._why_down = ""
        process.kill_leftovers(str(self._root))
        self._clean()
        self._bell, self._ring = socket.socketpair()
        self._bell.settimeout(0.0)
        self._ring.settimeout(0.0)
        self._runner: HostRunner | None = self._start()
        self._thread = threading.Thread(target=self._serve, name=f"agent {name}", daemon=True)
        self._thread.start()

    # -- the contract

    def capacity(self) -> Capacity:
        settings = self._settings
        return Capacity(
            slots=0 if self._why_down else self._slots,
            memory_bytes=self._memory_bytes,
            gpus=len(settings.gpus),
            queue=self._ahead,
            host=self._host,
            machine=self._machine,
            owner=settings.owner,
            platform=self._platform,
        )

    def stop(self, attempts: Sequence[AttemptId], *, is_wanted: bool = True) -> None:
        with self._lock:
            names = self._ledger.stop(attempts)
            if self._runner is None:
                self._launch(self._ledger.stopped(names))  # nothing of them runs
            elif names:
                self._tell({"do": "stop", "attempts": names, "wanted": is_wanted})

    def tail(self, attempt: AttemptId, offset: int, stream: str = "stdout") -> bytes:
        for path in self._outputs(attempt, stream):
            try:
                with path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    # Offsets come from outside: one far beyond the end cannot be sought.
                    file.seek(max(0, size + offset) if offset < 0 else min(offset, size))
                    return file.read(_TAIL_BYTES)
            except FileNotFoundError:
                continue
        return b""

    def own_slots(self) -> int:
        return host.usable_cores()

    def close(self, grace_s: float) -> None:
        with self._lock:
            self._closing = True
            self._tell({"do": "close", "grace_s": grace_s})
        self._wake()
        self._thread.join(grace_s + _AFTER_GRACE_S)
        runner = self._runner
        if self._thread.is_alive() and runner is not None:
            runner.kill()
            self._thread.join(_AFTER_GRACE_S)
        self._bell.close()
        self._ring.close()

    # -- sending

    def _tell(self, tree: dict[str, Any]) -> None:
        if self._runner is None:
            return  # the next one is told of all that is live
        with contextlib.suppress(wire.Closed):  # the thread sees its death too, and acts on it
            self._runner.stream.send(wire.json_frame(tree))
            if self._runner.stream.unsent:
                self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: nobody listens
            self._ring.send(b"w")

    # -- the thread

    def _serve(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            runner = self._runner
            if runner is not None:
                self._listen(runner)
                if time.monotonic() - runner.started_at > _HEALTHY_S:
                    pause_s = _FIRST_PAUSE_S
                self._after_death(runner)
            if not self._pause(pause_s):
                break
            self._start_again()
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
        with self._lock:
            loss = Loss(Cause.SHUTDOWN, "the daemon stopped", dead=True)
            events = self._ledger.all_lost((), loss, counts=False)
        self._sink(events)

    def _pause(self, seconds: float) -> bool:
        """Wait before a runner is started again; False when the agent is closing."""
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self._bell.settimeout(max(0.001, until - time.monotonic()))
                self._bell.recv(4096)
        self._bell.settimeout(0.0)
        return not self._closing

    def _listen(self, runner: HostRunner) -> None:
        """Pass on what the runner says until it is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(runner.stream, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            selector.register(runner.pidfd, selectors.EVENT_READ)
            wanted = selectors.EVENT_READ
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._bell.fileno() in ready:
                    self._bell.recv(4096)
                try:
                    with self._lock:
                        runner.stream.flush()
                        unsent = runner.stream.unsent
                    if runner.stream.fileno() in ready:
                        self._hear(map(_tree, runner.stream.receive()))
                except (wire.Closed, wire.WireError):
                    return
                if runner.pidfd in ready:
                    self._hear_the_rest(runner)
                    return
                now_wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
                if now_wanted != wanted:
                    selector.modify(runner.stream, now_wanted)
                    wanted = now_wanted

    def _hear_the_rest(self, runner: HostRunner) -> None:
        """What a dead runner said last is still worth hearing."""
        with contextlib.suppress(wire.Closed, wire.WireError):
            while True:
                frames = runner.stream.receive()
                if not frames:
                    return
                self._hear(map(_tree, frames))

    # -- the runner's life

    def _start(self) -> HostRunner:
        settings = self._settings
        env = {
            "PATH": settings.path,
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": settings.home or pwd.getpwuid(os.geteuid()).pw_dir,
            **({host.MACHINE: settings.machine} if settings.machine else {}),
            **{each: os.environ[each] for each in settings.env if each in os.environ},
        }
        setup = {
            "agent": self.name,
            "slots": self._slots,
            "gpus": list(settings.gpus),
            "interpreters": list(settings.interpreters),
            "env": env,
        }
        return HostRunner(bundle.publish(self._root / "runner"), self._root, setup)

    def _start_again(self) -> None:
        try:
            runner = self._start()
        except OSError as error:
            self._why_down = f"the runner could not be started: {error.strerror}"
            return  # the next pause is longer
        with self._lock:
            self._runner = runner
            self._why_down = ""
            waiting = self._ledger.all_again()
            if waiting:
                self._tell({"do": "launch", "work": waiting})
        self._sink([CapacityChanged(agent=self.name, capacity=self.capacity())])

    def _after_death(self, runner: HostRunner) -> None:
        """The runner is gone: end what is left of it, and tell what is lost."""
        manner = runner.end()
        ran = self._at_hand()
        if self._closing:
            loss = Loss(Cause.SHUTDOWN, "the daemon stopped", dead=True)
        else:
            loss = Loss(Cause.CONNECTION, f"the runner died ({manner})", dead=True)
        with self._lock:
            self._runner = None
            self._why_down = "" if self._closing else loss.message
            unwanted = (
                self._ledger.being_stopped()
            )  # nobody else would know of what they staged
            events = self._ledger.all_lost(ran, loss, counts=not self._closing)
        for attempt in unwanted:
            endings.remove_staged(attempt, str(self._root))
        self._clean()
        if not self._closing:
            events.append(
                CapacityChanged(
                    agent=self.name, capacity=self.capacity(), reason=self._why_down
                )
            )
        self._sink(events)

    def _at_hand(self) -> set[str]:
        """The attempts that were at hand in the workers, as these noted them."""
        found = set()
        for path in self._own("output", ".now"):
            with contextlib.suppress(OSError):
                found.add(path.read_bytes().rstrip(b"\0").decode())
        return found

    def _outputs(self, attempt: AttemptId, stream: str) -> list[Path]:
        name = str(attempt)
        with self._lock:
            slot = self._ledger.slot_of(attempt)
        folder = self._root / "tmp" / "output"
        found = [self._root / "stage" / f"{name}.files" / stream]
        if slot:
            found.append(folder / f"{slot}.{_STREAMS[stream]}")
        return found

    def _clean(self) -> None:
        """Remove what workers that are gone left in `tmp/`."""
        for part in ("scratch", "output"):
            (self._root / "tmp" / part).mkdir(parents=True, exist_ok=True)
            for path in self._own(part):
                with contextlib.suppress(OSError):
                    outputs.remove(str(path)) if path.is_dir() else path.unlink()

    def _own(self, part: str, ending: str = "") -> list[Path]:
        """What its workers have in this part of `tmp/`; another agent's name may begin as its own."""
        own = re.compile(rf"{re.escape(self.name)}-\d+(\.\w+)?")
        found = (self._root / "tmp" / part).glob(f"{self.name}-*{ending}")
        return [path for path in found if own.fullmatch(path.name)]


def _tree(frame: wire.Frame) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(frame[1])
    return told
