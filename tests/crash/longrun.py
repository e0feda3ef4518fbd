"""A long run half way, killed at a point of the daemon, its runner or its worker, and the verdict.

Two tasks save at each of their steps: a Python call, and a command that exits with 85 after
each one. `half_way` is the folder as a power cut leaves it when both are at work; `held` the
same with both tasks held. From there the runs are killed and must still come to the very bytes
that an undisturbed run comes to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoolmw import Spool, checkpoint
from spoolmw.client.control import ControlClient
from spoolmw.errors import NotServed
from spoolmw.format.resultfile import read
from spoolmw.spooldir.layout import Layout
from tests.crash.injection import Point, kill, points, trace
from tests.crash.machine import CONFIG, Machine
from tests.crash.sweep import workers
from tests.support.daemon import Daemon, end, family
from tests.support.waiting import wait_until

STEPS = 6
HALF = 3  #: steps that are done when it is struck down the first time
CALL, COMMAND = "walk", "count.sh"
NAMES = (CALL, COMMAND)
COUNT = f"""\
#!/bin/sh
#SPOOLMW checkpoint.every = 0
#SPOOLMW checkpoint.files = ["state.*"]
#SPOOLMW outputs = ["state.sum"]
echo "$(wc -l < state.log 2>/dev/null || echo 0)" >> state.log
cksum state.log >> state.sum
[ "$(wc -l < state.log)" -ge {STEPS} ] && exit 0
sleep "$(cat PACE)"
exit 85
"""


def walk(steps: int, pace: str) -> str:
    """A random walk that saves after each step, with its generator; its whole way as a digest."""
    start = {"way": [0.0], "random": random.Random(17)}
    state = checkpoint.load(start)
    while len(state["way"]) <= steps:
        state["way"].append(state["way"][-1] + state["random"].gauss(0, 1))
        checkpoint.save(state)
        time.sleep(float(Path(pace).read_text("ascii")))
    return hashlib.sha256(repr(state["way"]).encode()).hexdigest() + repr(state["way"][-1])


Verdict = list[str] | None
"""What is wrong; None: the point was not reached."""


class LongRun:
    """One machine on which the two tasks run, from one of two beginnings."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "machine")
        self.home = self.machine.home
        self.half_way = folder / "half-way"
        self.held = folder / "held"
        self._trace = folder / "trace"
        self._pace = self.home / "pace"  #: seconds that a step takes
        self.reference = self._undisturbed()
        self._begin(self.half_way, hold=False)
        self._begin(self.held, hold=True)

    # -- the beginnings

    def _undisturbed(self) -> dict[str, bytes]:
        self._submit()
        assert self.machine.run() == 0, self.machine.log_tail()
        found = self._results([])
        assert sorted(found) == sorted(NAMES)
        return found

    def _submit(self) -> None:
        self.machine.make()
        self._set(slots=1, pause_s=0)
        spool = Spool(self.machine.spool).options(checkpoint_every=0, name=CALL, keep=True)
        spool.submit(walk, STEPS, str(self._pace))
        text = COUNT.replace("PACE", str(self._pace))
        (self.machine.spool / "incoming" / COMMAND).write_text(text, encoding="ascii")

    def _set(self, *, slots: int, pause_s: float) -> None:
        self._pace.write_text(f"{pause_s}", encoding="ascii")
        config = CONFIG.replace("slots = 2", f"slots = {slots}")
        (self.home / "spoolmw.toml").write_text(config, encoding="utf-8")

    def _begin(self, template: Path, *, hold: bool) -> None:
        """Both tasks have saved some steps; then everything is killed at once."""
        self._submit()
        self._set(slots=2, pause_s=1.0)
        daemon = Daemon(self.home).start()
        try:
            wait_until(
                lambda: self._saves() >= 2 * HALF, timeout_s=60, last=self.machine.log_tail
            )
            if hold:
                self._hold()
        finally:
            daemon.kill_everything()
            end(daemon)
        assert self._results([]) == {}
        self._set(slots=1, pause_s=0)
        self.machine.save(template)

    def _hold(self) -> None:
        with ControlClient(self.machine.spool) as control:
            tasks = control.request("find", {"state": "running"})["tasks"]
            held = control.request("hold", {"ids": [task["id"] for task in tasks]})
        assert [told["ok"] for told in held["results"]] == [True, True]

    def _saves(self) -> int:
        """How many steps the two have saved, at least."""
        found: dict[Path, int] = {}
        for path in (self.machine.spool / "checkpoints").glob("*/0/[0-9]*-*/MANIFEST"):
            number = int(path.parent.name.partition("-")[2])
            found[path.parents[1]] = max(number, found.get(path.parents[1], 0))
        return sum(found.values()) if len(found) == 2 else 0

    # -- the daemon, from its start to the end of the run

    def daemon_points(self) -> list[Point]:
        self.machine.reset(self.half_way)
        return points(self.machine.traced(late=False), self.machine.spool)

    def daemon(self, point: Point) -> Verdict:
        self.machine.reset(self.half_way)
        if self.machine.run(kill(point)) == 0:
            return None
        return self._finish()

    # -- the worker that goes on with a task, and the runner above it

    def process_points(self, who: str, name: str) -> list[Point]:
        self.machine.reset(self.held)
        self._beside(who, name, trace(self._trace))
        return points(self._trace, self.machine.spool)

    def process(self, who: str, name: str, point: Point) -> Verdict:
        self.machine.reset(self.held)
        if not self._beside(who, name, kill(point)):
            return None
        return self._finish()

    def _beside(self, who: str, name: str, strace: Sequence[str]) -> bool:
        """Release task `name` with strace at the worker or the runner; whether that was killed."""
        with self._warm(name) as daemon:
            [victim] = workers(daemon.pid) if who == "worker" else _runners(daemon.pid)
            tracer = subprocess.Popen([*strace, "-p", str(victim)], stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: _is_traced(victim))
                daemon.ctl("release", name)
                path = self.machine.spool / "results"
                wait_until(
                    lambda: any(path.glob(f"{name}*.result")),
                    timeout_s=60,
                    last=self.machine.log_tail,
                )
                return not Path(f"/proc/{victim}").exists()
            finally:
                tracer.terminate()
                tracer.wait()

    @contextlib.contextmanager
    def _warm(self, name: str) -> Iterator[Daemon]:
        """A daemon whose one worker is of the sort that task `name` will run in."""
        daemon = Daemon(self.home).start()
        try:
            if name == CALL:
                warm = Spool(self.machine.spool).options(name="warm", keep=True)
                warm.submit(abs, -1).result(60)
            else:
                daemon.drop("warm", "#!/bin/sh\ntrue\n")
                daemon.result("warm")
            yield daemon
            daemon.stop()
        finally:
            end(daemon)

    # -- the verdict

    def _finish(self) -> list[str]:
        """Let a last daemon end everything; what is wrong then."""
        self._release()
        if status := self.machine.run():
            return [f"the last daemon ended with {status}: {self.machine.log_tail()}"]
        found: list[str] = []
        results = self._results(found)
        for name, wanted in self.reference.items():
            if results.get(name) != wanted:
                found.append(f"{name} came to {results.get(name)!r}, not to {wanted!r}")
        found += self._left_over()
        return [*found, self.machine.log_tail()] if found else []

    def _release(self) -> None:
        """What is still held may run, so that a daemon that drains comes to its end."""
        if not any((self.machine.spool / "active").glob("*/*.hold")):
            return
        daemon = Daemon(self.home).start()
        try:
            with ControlClient(self.machine.spool) as control, contextlib.suppress(NotServed):
                tasks = control.request("find", {"state": "held"})["tasks"]
                control.request("release", {"ids": [task["id"] for task in tasks]})
            daemon.stop()
        finally:
            end(daemon)

    def _results(self, found: list[str]) -> dict[str, bytes]:
        """What each task came to, to the byte; what is no success, or there twice, is told."""
        values: dict[str, bytes] = {}
        for path in (self.machine.spool / "results").glob("*.result"):
            if path.name.startswith(("taken", "warm")):
                continue
            result = read(path)
            name = str(result.header["name"])
            if result.trailer is None or result.trailer["state"] != "done":
                found.append(f"{name} did not succeed: {result.header} {result.trailer}")
            elif name in values:
                found.append(f"{name} was delivered twice")
            sums = path.with_suffix(".files") / "state.sum"
            values[name] = bytes(result.value) + (sums.read_bytes() if sums.exists() else b"")
        return values

    def _left_over(self) -> list[str]:
        layout = Layout(self.machine.spool)
        folders = (layout.checkpoints, layout.stage, layout.active, layout.incoming)
        found = [
            f"left over: {path.relative_to(layout.root)}"
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() or layout.checkpoints in path.parents
        ]
        db = sqlite3.connect(layout.journal)
        try:
            if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                found.append("the journal is damaged")
        finally:
            db.close()
        return found


def _runners(daemon: int) -> list[int]:
    """The daemon's own child."""
    below = family(daemon)
    return [pid for pid in below if os.path.exists(f"/proc/{pid}") and family(pid)]


def _is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text("ascii")
