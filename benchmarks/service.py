"""A daemon to measure, on a fresh spool, with the CPU time of its whole tree."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120.0  #: for a start or a stop; the slowest has 100,000 tasks in its journal


TWO_SLOTS = '[agents.local]\nkind = "local"\nslots = 2\n'


class Service:
    """`spoolmwd` on the spool in `folder`, with two slots if `config` says nothing else."""

    def __init__(self, folder: Path, config: str = TWO_SLOTS) -> None:
        self.spool = folder / "spool"
        self._config = folder / "spoolmw.toml"
        self._log = folder / "spoolmwd.log"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the daemon is not running"
        return self._process.pid

    def start(self) -> float:
        """Start the daemon and return the seconds until it said READY."""
        command = [sys.executable, "-m", "spoolmw.daemon.main"]
        command += ["--spool", str(self.spool), "--config", str(self._config)]
        before = time.perf_counter()
        with _notify_socket() as ear, self._log.open("ab") as log:
            env = {**os.environ, "NOTIFY_SOCKET": ear.getsockname()}
            self._process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
            while not self._is_ready(ear, before):
                pass
        return time.perf_counter() - before

    def _is_ready(self, ear: socket.socket, since: float) -> bool:
        assert self._process is not None
        try:
            return b"READY=1" in ear.recv(4096)
        except TimeoutError:
            late = time.perf_counter() - since > PATIENCE_S
            if self._process.poll() is not None or late:
                raise RuntimeError(
                    f"spoolmwd did not start:\n{self._log.read_text()}"
                ) from None
            return False

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def cpu_s(self) -> float:
        """CPU seconds of the daemon and of all that it started, so far."""
        return tree_cpu_s(self.pid)

    def memory_mb(self) -> float:
        """Resident size of the daemon alone, in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0


@contextmanager
def _notify_socket() -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
    ):
        ear.bind(f"{folder}/notify")
        ear.settimeout(0.2)
        yield ear


def own_cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def tree_cpu_s(root: int) -> float:
    """CPU seconds of `root` and everything below it, ended children included."""
    children, spent = defaultdict(list), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            pid = int(entry.name)
            children[int(fields[1])].append(pid)
            spent[pid] = sum(map(int, fields[11:15])) * TICK_S  # utime stime cutime cstime
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        total += spent.get(pid, 0.0)
        todo += children[pid]
    return total


def _stat(entry: Path) -> list[str]:
    """What /proc/PID/stat has behind the program's name; nothing if the process has ended."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
