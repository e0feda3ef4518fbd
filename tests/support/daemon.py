"""A real spoolmwd as a process on a spool of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Daemon:
    """Starts, kills and questions one daemon; may be started again on the same spool."""

    def __init__(self, home: Path, *, config: str = "", env: Mapping[str, str] | None = None):
        self.home = home
        self.spool = home / "spool"
        self.log = home / "spoolmwd.log"
        self.env = dict(env or {})
        self.prefix: Sequence[str] = ()  #: a program that starts the daemon, as setpriv
        self.process: subprocess.Popen[bytes] | None = None
        self._begins = 0  #: where in the log the newest start is told
        if config:
            (home / "spoolmw.toml").write_text(config, encoding="utf-8")

    def start(self, *args: str, wait: bool = True) -> Daemon:
        """Start it; returns when it answers."""
        self._begins = len(self.log_text())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "spoolmw.daemon.main",
                    "--spool",
                    str(self.spool),
                    *args,
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            wait_until(self.is_ready, last=self.log_text)
        return self

    def is_ready(self) -> bool:
        """The newest start serves; fails when it has ended."""
        assert self.process is not None
        status = self.process.poll()  # first: one that drains may be ready and over
        if f"ready spool={self.spool.resolve()}" in self._own_log():
            return True
        assert status is None, f"spoolmwd ended with {status}: {self.log_text()}"
        return False

    def _own_log(self) -> str:
        """The log since the newest start."""
        return self.log_text()[self._begins :]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log_text(self) -> str:
        return (
            self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        )

    def kill(self) -> None:
        """kill -9, of the daemon alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_everything(self) -> None:
        """kill -9 of the daemon, its runner, its workers and what they started, all at once."""
        victims = [self.pid, *family(self.pid)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise AssertionError(f"spoolmwd did not stop: {self.log_text()[-3000:]}") from None

    def wait_exit(self, timeout_s: float = 30.0) -> int:
        """The exit status of a daemon that ends by itself."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def ctl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run spoolmw-ctl on this spool; with `check`, it has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "spoolmw.ctl.main", "--spool", str(self.spool), *args],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"spoolmw-ctl {args}: {done.stdout}{done.stderr}"
        )
        return done

    def ctl_json(self, *args: str) -> list[dict[str, object]]:
        """The JSON lines that a verb prints."""
        return [json.loads(line) for line in self.ctl(*args, "--json").stdout.splitlines()]

    # -- files --------------------------------------------------------------------------------

    def drop(
        self, name: str, text: str, *, box: str = "", inputs: Mapping[str, str] | None = None
    ) -> None:
        """Drop a file as a careful user does: its inputs first, then the file by a rename."""
        folder = self.spool / "incoming" / box
        folder.mkdir(parents=True, exist_ok=True)
        if inputs:
            (folder / f"{name}.in").mkdir()
            for input_name, content in inputs.items():
                (folder / f"{name}.in" / input_name).write_text(content, encoding="utf-8")
        half = self.spool / "tmp" / f"{name}.part"
        half.write_text(text, encoding="utf-8")
        half.rename(folder / name)

    def result(self, name: str, *, timeout_s: float = 60.0) -> Path:
        """The path of a result file, once it is there."""
        path = self.spool / "results" / f"{name}.result"
        wait_until(path.exists, timeout_s=timeout_s, last=self.log_text)
        return path

    def rejected(self, name: str) -> str:
        """The reason why a file was refused, once both are there: the reason comes first."""
        path = self.spool / "rejected" / f"{name}.reason"
        refused = self.spool / "rejected" / name
        wait_until(lambda: path.exists() and os.path.lexists(refused), last=self.log_text)
        return path.read_text(encoding="utf-8")

    def results(self) -> list[Path]:
        return sorted((self.spool / "results").rglob("*.result"))


def family(pid: int) -> list[int]:
    """All descendants of `pid`, children first."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *family(child)]
    return found


def left_over(spool: Path) -> list[tuple[int, str]]:
    """Processes that still belong to this spool: (pid, command line)."""
    needle = str(spool.resolve()).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and (
                needle in command or needle in (entry / "environ").read_bytes()
            ):
                found.append(
                    (int(entry.name), command.replace(b"\0", b" ").decode(errors="replace"))
                )
    return found


@contextlib.contextmanager
def running(
    home: Path, *args: str, config: str = "", env: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """A running daemon that leaves no process behind."""
    daemon = Daemon(home, config=config, env=env)
    try:
        yield daemon.start(*args)
    finally:
        end(daemon)


def end(daemon: Daemon) -> None:
    """Stop whatever is left of `daemon`, and see that nothing is."""
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.stop()
    wait_until(lambda: not left_over(daemon.spool), last=lambda: str(left_over(daemon.spool)))


def take_away(result: Path) -> None:
    """Remove a result with its folder of files, as a consumer does."""
    result.unlink()
    shutil.rmtree(result.with_suffix(".files"), ignore_errors=True)


def trailer(result: Path) -> dict[str, object]:
    """The trailer of a result file."""
    return dict(json.loads(result.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]))


def header(result: Path) -> dict[str, object]:
    """The header of a result file."""
    return dict(json.loads(result.read_bytes().split(b"\n", 2)[1]))


__all__: Sequence[str] = [
    "Daemon",
    "end",
    "family",
    "header",
    "left_over",
    "running",
    "take_away",
    "trailer",
]
