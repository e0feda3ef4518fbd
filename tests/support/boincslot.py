"""A stand-in for the core client of BOINC: it makes a slot, starts the application in it, and
speaks with it through the shared memory, as the client 7.20 does."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from spoolmw.agents import boincapp
from spoolmw.agents.batch import collecting
from spoolmw.agents.batch.collecting import Collected
from spoolmw.agents.batch.packing import Manner, Packed, Packer
from spoolmw.agents.kinds import kind_of
from spoolmw.model.agent import Launch
from spoolmw.runner import boincslot, onefile
from spoolmw.runner.order import Element, lines
from tests.support.attempts import Bench
from tests.support.batchjob import alive
from tests.support.waiting import wait_until

PROJECT = "127.0.0.1_38123_grid"
_CHANNELS = {"control": 0, "heartbeat": 4, "status": 5}
_BYTES = 1024
#: A client that can be killed: it starts the program in the slot, and does nothing more.
_CLIENT = """\
import os, subprocess, sys, time
with open("init_data.xml", "w") as file:
    file.write("<app_init_data>\\n<client_pid>%d</client_pid>\\n</app_init_data>\\n" % os.getpid())
with open("stderr.txt", "ab") as said:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
print(child.pid, flush=True)
time.sleep(1000)
"""


class Slot:
    """One slot with the work in it."""

    def __init__(self, host: Host, folder: Path, work: Launch, packed: Packed) -> None:
        self.host = host
        self.folder = folder
        self.work = work
        self.packed = packed
        self.path = os.defpath  #: $PATH of the client
        self._child: subprocess.Popen[bytes] | None = None
        self._client: subprocess.Popen[bytes] | None = None

    # -- the client's side of a start

    def _prepare(self) -> None:
        """What a client does before each start."""
        for name in (boincslot.FINISHED, boincslot.TEMPORARY):
            (self.folder / name).unlink(missing_ok=True)
        path = self.folder / boincslot.SHARED
        if not path.exists():
            path.write_bytes(bytes(8 * _BYTES))
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8 * _BYTES)
        for number in range(8):
            self._shared[number * _BYTES] = 0

    def start(self, *, cpu_s: float = 0.0, is_child: bool = True) -> None:
        """Start the program; without `is_child` it cannot tell that it is this process's."""
        self._prepare()
        pid = os.getpid() if is_child else 0
        about = f"<wu_cpu_time>{cpu_s:f}</wu_cpu_time>\n<client_pid>{pid}</client_pid>\n"
        (self.folder / boincslot.ABOUT).write_text(about)
        self._child = self.another()

    def another(self) -> subprocess.Popen[bytes]:
        """A copy of the program, beside one that may be there."""
        with open(self.folder / "stderr.txt", "ab") as said:
            return subprocess.Popen(
                [self.host.program],
                cwd=self.folder,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def start_under_a_client(self) -> None:
        """Start a client as a process of its own, and the program below it."""
        self._prepare()
        self._client = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CLIENT, self.host.program],
            cwd=self.folder,
            env=self._env(),
            stdout=subprocess.PIPE,
        )
        assert self._client.stdout is not None
        assert self._client.stdout.readline(), "the program could not be started"

    def _env(self) -> dict[str, str]:
        return {"PATH": self.path, "LD_LIBRARY_PATH": f"../../projects/{PROJECT}:.:../.."}

    def kill_client(self) -> None:
        assert self._client is not None
        self._client.kill()
        self._client.communicate()

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def poll(self) -> int | None:
        """The exit code of the program; None: it runs."""
        assert self._child is not None
        return self._child.poll()

    def end(self, timeout_s: float = 60.0) -> int:
        """Wait for the program's end; the exit code."""
        assert self._child is not None
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """Kill the program, if it has not ended by itself."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def run(self) -> int:
        self.start()
        return self.end()

    # -- what the two tell each other

    def say(self, text: str) -> None:
        """Leave a message for the program, when it has read the one before."""
        wait_until(lambda: not self._has("control"))
        self._put("control", text)

    def is_heard(self) -> bool:
        """Whether the program has read it."""
        return not self._has("control")

    def beat(self) -> None:
        if not self._has("heartbeat"):
            self._put("heartbeat", "<heartbeat/><wss>0</wss><max_wss>1e9</max_wss>")

    def status(self) -> dict[str, float]:
        """The numbers in the program's last word that was not read yet; empty: none."""
        start = _CHANNELS["status"] * _BYTES
        if not self._shared[start]:
            return {}
        text = self._shared[start + 1 : start + _BYTES].partition(b"\0")[0].decode()
        self._shared[start] = 0
        return {name: float(told) for name, told in re.findall(r"<(\w+)>([^<]+)</", text)}

    def next_status(self) -> dict[str, float]:
        return wait_until(self.status)

    def _has(self, channel: str) -> bool:
        return bool(self._shared[_CHANNELS[channel] * _BYTES])

    def _put(self, channel: str, text: str) -> None:
        start = _CHANNELS[channel] * _BYTES
        data = text.encode() + b"\0"
        self._shared[start + 1 : start + 1 + len(data)] = data
        self._shared[start] = 1

    # -- what it leaves

    @property
    def is_finished(self) -> bool:
        return (self.folder / boincslot.FINISHED).exists()

    @property
    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def bring_back(self) -> Path:
        """What the server makes of the one file that is uploaded: a folder `out/`."""
        assert self.is_finished, self.said
        target = self.packed.home / "out"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        onefile.unpack(boincslot.real(str(self.folder), "out.bin"), str(target), 1 << 40)
        return target

    def collect(self) -> Collected:
        return collecting.collect(self.bring_back(), self.host.bench.root, self.packed.given)

    def refusal(self) -> collecting.Refusal:
        """Why nothing was run."""
        told = collecting.refusal(self.bring_back())
        assert told is not None
        return told

    def stop(self) -> None:
        """Leave nothing of it alive."""
        for child in (self._client, self._child):
            if child is not None and child.poll() is None:
                child.kill()
                child.communicate()
        for pid in alive(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Host:
    """The data folder of one client, with the application in it."""

    def __init__(self, base: Path, bench: Bench) -> None:
        self.base = base
        self.bench = bench
        self.slots: list[Slot] = []
        self.project = base / "projects" / PROJECT
        self.project.mkdir(parents=True)
        path = self.project / boincapp.file_name()
        path.write_bytes(boincapp.application())
        path.chmod(0o755)
        self.program = f"../../projects/{PROJECT}/{path.name}"

    def slot(self, work: Launch, element: Element | None = None, **manner: Any) -> Slot:
        """A slot with what a workunit brings, as copies."""
        packer = Packer(self.bench.root, Manner(**{"agent": "grid", "grace_s": 10.0, **manner}))
        packet = lines(str(work.attempt), work.token, work.path, element)
        job = self.bench.root / "agents" / "grid" / "jobs" / str(work.attempt)
        packed = packer.pack(kind_of(work), packet, job)
        folder = self.base / "slots" / str(len(self.slots))
        folder.mkdir(parents=True)
        for name in packed.travels:
            if (packed.source / name).is_file():
                shutil.copy2(packed.source / name, folder / name)
        made = Slot(self, folder, work, packed)
        self.slots.append(made)
        return made

    def run(self, work: Launch, **manner: Any) -> Collected:
        """Run an attempt to its end, and take in what it left."""
        slot = self.slot(work, **manner)
        assert slot.run() == 0, slot.said
        return slot.collect()

    def link(self, slot: Slot, name: str, physical: str) -> Path:
        """Let a file of the slot be one of the project's, as it is without `copy_file`."""
        target = self.project / physical
        if (slot.folder / name).exists():
            (slot.folder / name).rename(target)
        (slot.folder / name).write_text(
            f"<soft_link>../../projects/{PROJECT}/{physical}</soft_link>\n"
        )
        return target

    def end(self) -> None:
        for slot in self.slots:
            slot.stop()
