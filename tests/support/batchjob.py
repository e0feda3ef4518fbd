"""A batch system in a few lines: it brings files flat into a sandbox, runs the job, brings `out/` back."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents import bundle
from spoolmw.agents.batch import collecting, packing, saving
from spoolmw.agents.batch.collecting import Collected
from spoolmw.agents.batch.packing import Manner, Packed, Packer
from spoolmw.agents.carrier.book import Given
from spoolmw.agents.kinds import kind_of
from spoolmw.model.agent import Launch
from spoolmw.runner.order import Element, lines
from tests.support.attempts import Bench

EXIT = 85
_numbers = itertools.count()


class Job:
    """One job: where it comes home to, and the sandbox that it runs in now."""

    def __init__(self, system: BatchSystem, work: Launch, packed: Packed) -> None:
        self.system = system
        self.work = work
        self.packed = packed
        self.said = ""
        self.sandbox = Path()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.packed.home

    @property
    def given(self) -> Given:
        return self.packed.given

    def arrive(self) -> Path:
        """A new sandbox with what travels in it, flat, as file transfer puts it there."""
        self.sandbox = self.system.base / f"dir_{next(_numbers)}"
        self.sandbox.mkdir()
        for name in (*self.packed.travels, self.system.archive):
            source = self.packed.source / name
            if source.is_dir():
                shutil.copytree(source, self.sandbox / source.name)
            else:
                shutil.copy2(source, self.sandbox / source.name)
        if (kept := self.home / "checkpoints").is_dir():
            shutil.copytree(kept, self.sandbox / "checkpoints", dirs_exist_ok=True)
        return self.sandbox

    def start(self, **env: str) -> None:
        """Start the job where it is; no shell of ours between."""
        argv = [str(packing.LAUNCHER), self.system.archive.name, "-", self.system.python]
        self._child = subprocess.Popen(
            argv,
            cwd=self.sandbox,
            env={"PATH": os.defpath, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def end(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        assert self._child is not None
        self.said = self._child.communicate(timeout=timeout_s)[1].decode()
        return self._child.returncode

    def run(self, **env: str) -> int:
        self.start(**env)
        return self.end()

    def vacate(self) -> int:
        """The machine's owner is back."""
        os.kill(self.pid, signal.SIGTERM)
        return self.end()

    def bring_back(self) -> Path:
        """What the system transfers at the end: `out/`, under the job's folder at home."""
        target = self.home / "out"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.sandbox / "out", target)
        return target

    def keep_checkpoints(self) -> Path:
        """What the system takes at a checkpoint: it comes with the job when it starts elsewhere."""
        target = self.home / "checkpoints"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.sandbox / "checkpoints", target)
        return target

    def collect(self) -> Collected:
        """Bring it back and take it into the spool."""
        return collecting.collect(self.bring_back(), self.system.root, self.given)

    def bring_checkpoint(self) -> dict[str, Any] | None:
        return saving.bring(self.home / "checkpoints", self.system.root, self.given)

    def kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.communicate()


class BatchSystem:
    """Jobs for the attempts of a bench."""

    def __init__(self, base: Path, bench: Bench) -> None:
        self.base = base
        self.bench = bench
        self.root = bench.root
        self.archive = bundle.publish(bench.root / "runner")
        self.jobs: list[Job] = []
        self.python = sys.executable  #: the one that its hosts have

    def job(self, work: Launch, element: Element | None = None, **manner: Any) -> Job:
        """A job that has arrived in its first sandbox."""
        told = {"agent": "pool", "grace_s": 10.0, **manner}
        packer = Packer(self.root, Manner(**told))
        packet = lines(str(work.attempt), work.token, work.path, element)
        folder = self.root / "agents" / "pool" / "jobs" / str(work.attempt)
        made = Job(self, work, packer.pack(kind_of(work), packet, folder))
        self.jobs.append(made)
        if made.packed.travels:
            made.arrive()
        else:
            made.sandbox = made.home
            os.link(self.archive, made.home / self.archive.name)
        return made

    def run(self, work: Launch, **manner: Any) -> Collected:
        """Run a job to its end, which is a report, and take in what it left."""
        job = self.job(work, **manner)
        assert job.run() == 0, job.said
        return job.collect()

    def end(self) -> None:
        for job in self.jobs:
            job.kill()


def alive(sandbox: Path) -> list[int]:
    """Processes that have to do with a sandbox."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
                words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if where.is_relative_to(sandbox) or str(sandbox).encode() in words:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def executing(folder: Path, bench: Bench) -> Iterator[BatchSystem]:
    """A batch system whose hosts, below `folder`, share nothing with the spool."""
    base = folder / "execute"
    base.mkdir()
    made = BatchSystem(base, bench)
    yield made
    made.end()


def terminate_at_once(pids: Sequence[int]) -> None:
    """TERM to all of these before one of them can act on it."""
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, number)
