"""A spool with the workload in it, daemons that are killed on it, and the verdict."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from spoolmw.spooldir.layout import prepare
from tests.crash import checker, workload
from tests.crash.consumer import Consumer
from tests.crash.injection import trace
from tests.support.daemon import ROOT, left_over
from tests.support.waiting import wait_until

CONFIG = """\
[intake]
settle_s = 0.05
scan_s = 0.2
[disk]
low = "1MB"
[daemon]
grace = "1s"
[agents.local]
kind = "local"
slots = 2
"""
DAEMON = ("-m", "spoolmw.daemon.main")
CLIENT = ("-m", "tests.crash.workload")
RUN_S = 90.0  #: longest time for one run of a daemon that drains


class Machine:
    """One folder with a spool. `reset` begins anew, from a copy of the folder `template`."""

    def __init__(self, home: Path, daemon: Sequence[str] = DAEMON) -> None:
        self.home = home
        self.spool = home / "spool"
        self.log = home / "spoolmwd.log"
        self._daemon = (sys.executable, *daemon)

    def make(self) -> None:
        """An empty spool, made as a daemon makes it, in which one result name is taken."""
        self.unmake()
        self.furnish()

    def furnish(self) -> None:
        """The folders of the spool, and in `results/` the result of somebody else."""
        prepare(self.spool)
        self.take_name()

    def unmake(self) -> None:
        """Nothing but a configuration."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / workload.LOCKS).mkdir(parents=True)
        (self.home / "spoolmw.toml").write_text(CONFIG, encoding="utf-8")

    def take_name(self) -> None:
        """A result of somebody else stands where one of ours would go."""
        taken = self.spool / "results" / f"{workload.TAKEN}.result"
        taken.write_bytes(workload.TAKEN_TEXT)

    def save(self, template: Path) -> None:
        """Keep the folder as it is now; no daemon may run."""
        shutil.rmtree(template, ignore_errors=True)
        ignore = shutil.ignore_patterns("ballast", "control.sock", "*.pyz")
        shutil.copytree(self.home, template, symlinks=True, ignore=ignore)

    def reset(self, template: Path) -> None:
        """Be as `template` was when it was saved."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(template, self.home, symlinks=True)

    # -- daemons

    def run(
        self,
        before: Sequence[str] = (),
        *,
        late: bool = False,
        beside: Callable[[int], None] | None = None,
    ) -> int:
        """Run a daemon until it has drained the spool or was killed; its status.

        `before`: the words of strace. `late`: submit the late part while it runs. `beside`: is
        called with its process id.
        """
        process = self._start([*before, *self._daemon, "--spool", str(self.spool), "--drain"])
        try:
            with self._submitting() if late else contextlib.nullcontext():
                if beside is not None:
                    beside(process.pid)
                return process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the daemon did not drain the spool: {self.log_tail()}"
            ) from None
        finally:
            self._end(process)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @contextlib.contextmanager
    def _submitting(self) -> Iterator[None]:
        """The client of the late part runs meanwhile."""
        client = self._start([sys.executable, *CLIENT, str(self.home), "late"])
        try:
            yield
        finally:
            client.wait(RUN_S)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.wait()
        try:
            wait_until(lambda: not left_over(self.spool), timeout_s=30)
        except AssertionError:
            strays = left_over(self.spool)
            for pid, _ in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            raise AssertionError(f"processes were left: {strays}; {self.log_tail()}") from None

    def rebuild(self) -> list[str]:
        """Lose the journal and have it restored from the spool; what went wrong."""
        for file in (self.spool / "journal").glob("spoolmw.db*"):
            file.unlink()
        command = [*self._daemon, "--spool", str(self.spool), "--rebuild"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return [f"rebuild: {done.stdout}{done.stderr}"] if done.returncode else []

    def client(self, part: str, before: Sequence[str] = ()) -> int:
        """Run the submitting client of the `early` or `late` part; its status."""
        return subprocess.run(
            [*before, sys.executable, *CLIENT, str(self.home), part],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
            timeout=RUN_S,
            check=False,
        ).returncode

    def traced_client(self) -> Path:
        """Run the client of the early part under strace; the trace."""
        out = self.home.with_name(f"{self.home.name}.trace")
        assert self.client("early", trace(out)) == 0
        return out

    def traced(self, *, late: bool) -> Path:
        """Run a daemon under strace; the trace."""
        out = self.home.with_name(f"{self.home.name}.trace")
        status = self.run(trace(out), late=late)
        assert status == 0, self.log_tail()
        return out

    # -- the verdict

    def finish(
        self,
        consumer: Consumer,
        *,
        twice: bool = True,
        excused: Collection[checker.Excuse] = (),
    ) -> list[str]:
        """Let a last daemon end everything; what is wrong then, but for what is excused.

        `twice`: see that a further daemon changes nothing.
        """
        for part in ("early", "late"):
            if workload.missing(self.home, part) and self.client(part):
                return [f"the client of the {part} part failed: {self.log_tail()}"]
        if status := self.run():
            return [f"the last daemon ended with {status}: {self.log_tail()}"]
        before = checker.picture(self.home)
        found = [
            *checker.problems(self.home, excused),
            *consumer.complaints,
            *consumer.changed(),
        ]
        if found:
            return [*found, self.log_tail()]
        if not twice:
            return []
        if status := self.run():
            return [f"a further start ended with {status}: {self.log_tail()}"]
        return [p for p in checker.no_op_problems(self.home, before) if not self._was_taken(p)]

    def _was_taken(self, problem: str) -> bool:
        """The consumer goes on while the further daemon runs."""
        return "changed results/" in problem and problem.endswith("-> None")

    def log_tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text[-3000:]
