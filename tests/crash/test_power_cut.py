"""The power fails at a system call: what was accepted is there when it is back, each task comes once.

An ext4 is shut down without its log (an ioctl for such tests), so all that was not synced is
gone; then it is mounted again, and a daemon goes on. `kill -9` alone would not show a missing
sync: the page cache outlives a process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spoolmw.format.resultfile import read
from tests.crash import alone
from tests.crash.checker import problems
from tests.crash.disks import on_disk
from tests.crash.injection import Point, kill, needs_strace, points, spread, trace
from tests.crash.machine import DAEMON, Machine
from tests.support.daemon import ROOT
from tests.support.waiting import wait_until

IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"
POINTS = 150 if IS_FULL else 6
#: EXT4_IOC_SHUTDOWN, and its flag to throw away what is not in the log on the disk.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class PoweredMachine(Machine):
    """A machine whose spool is a disk of its own, whose power can be cut."""

    def __init__(self, folder: Path, daemon: Sequence[str] = DAEMON) -> None:
        super().__init__(folder / "home", daemon)
        self._image = folder / "disk.img"
        self._first_image = folder / "first.img"
        self._first_home = folder / "first"

    def prepare(self, *, empty: bool = False) -> None:
        """The early part of the workload waits in `incoming/`, all of it on the disk; or nothing."""
        self.unmake()
        self.spool.mkdir()
        run("truncate", "-s", "48M", self._image)
        run("mkfs.ext4", "-q", "-m", "0", self._image)
        self.switch_on()
        self.furnish()
        assert empty or self.client("early") == 0
        run("umount", self.spool)
        shutil.copytree(self.home, self._first_home)
        run("cp", "--sparse=always", self._image, self._first_image)

    def begin_anew(self) -> None:
        """Be as after `prepare`, with the power on."""
        shutil.rmtree(self.home)
        shutil.copytree(self._first_home, self.home)
        run("cp", "--sparse=always", self._first_image, self._image)
        self.switch_on()

    def switch_on(self) -> None:
        run("mount", "-o", "loop", self._image, self.spool)

    def switch_off(self) -> None:
        run("umount", self.spool)

    def cut_power(self) -> None:
        """What is not on the disk now never will be."""
        folder = os.open(self.spool, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(folder)
        self.switch_off()


def run(*words: str | Path) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(words, env={**os.environ, "PATH": path}, check=True, capture_output=True)


def wrong_after_power_cut(machine: PoweredMachine, point: Point) -> list[str]:
    """What is wrong when the power failed at `point`, came back, and all was done."""
    machine.begin_anew()
    try:
        machine.run(kill(point))
        machine.cut_power()
        machine.switch_on()
        if status := machine.run():
            return [f"the next start ended with {status}: {machine.log_tail()}"]
        assert machine.client("late") == 0
        if status := machine.run():
            return [f"the last start ended with {status}: {machine.log_tail()}"]
        return problems(machine.home)
    finally:
        machine.switch_off()


def submit(machine: PoweredMachine, part: str) -> None:
    """Submit one of the two tasks of `tests.crash.alone`."""
    command = [sys.executable, "-m", "tests.crash.alone", str(machine.home), part]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


def begin_with_another(machine: PoweredMachine) -> None:
    """An empty spool with the task that keeps a daemon from ending."""
    machine.begin_anew()
    submit(machine, "other")


def await_result(machine: PoweredMachine, daemon: int) -> None:
    """Submit the lone task; when the daemon delivered it, or was killed, the other one may end."""
    submit(machine, "lone")
    wait_until(lambda: results_of(machine) or has_ended(daemon), timeout_s=30)
    (machine.home / alone.GO).touch()


def kill_when_it_runs(machine: PoweredMachine, daemon: int) -> None:
    """Submit the lone task; kill the daemon as soon as it runs, so soon after its acceptance."""
    submit(machine, "lone")
    wait_until((machine.home / alone.RUNS).exists, timeout_s=30)
    os.kill(daemon, signal.SIGKILL)
    (machine.home / alone.GO).touch()


def results_of(machine: PoweredMachine) -> list[Path]:
    return list((machine.spool / "results").glob("answer-*"))


def has_ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def values_when_power_is_back(machine: PoweredMachine) -> list[bytes]:
    """The power fails now; what is delivered for the lone task after it came back."""
    machine.cut_power()
    machine.switch_on()
    try:
        assert machine.run() == 0, machine.log_tail()
        return [bytes(read(path).value) for path in results_of(machine)]
    finally:
        machine.switch_off()


def points_of(machine: PoweredMachine) -> list[Point]:
    """The points of a daemon's life on this machine."""
    machine.prepare()
    machine.begin_anew()
    found = points(machine.traced(late=False), machine.spool)
    machine.switch_off()
    return found


@needs_strace
@on_disk("true")
def test_no_power_cut_loses_or_doubles_a_task(folder: Path) -> None:
    machine = PoweredMachine(folder)
    for point in spread(points_of(machine), POINTS):
        assert wrong_after_power_cut(machine, point) == [], f"{point} {point.text}"


@on_disk("true")
def test_a_task_that_was_accepted_alone_outlives_a_power_cut(folder: Path) -> None:
    machine = PoweredMachine(folder)
    machine.prepare(empty=True)
    begin_with_another(machine)
    machine.run(beside=lambda pid: kill_when_it_runs(machine, pid))
    [value] = values_when_power_is_back(machine)
    assert alone.VALUE.encode() in value


@needs_strace
@on_disk("true")
def test_a_result_that_was_committed_alone_outlives_a_power_cut(folder: Path) -> None:
    machine = PoweredMachine(folder)
    machine.prepare(empty=True)
    begin_with_another(machine)
    out = machine.home.with_name("alone.trace")
    machine.run(trace(out), beside=lambda pid: await_result(machine, pid))
    found = points(out, machine.spool)
    machine.switch_off()
    begin_with_another(machine)
    publishes = next(p for p in found if p.call == "renameat2" and "/results/answer-" in p.text)
    machine.run(kill(publishes), beside=lambda pid: await_result(machine, pid))
    assert results_of(machine) == []
    [value] = values_when_power_is_back(machine)
    assert alone.VALUE.encode() in value


@needs_strace
@on_disk("true")
def test_a_daemon_that_forgets_to_sync_is_found_out(folder: Path) -> None:
    machine = PoweredMachine(folder, ("-m", "tests.crash.wrong_variants", "forget_to_sync"))
    [*_, end] = points_of(machine)
    assert any("cannot be read" in problem for problem in wrong_after_power_cut(machine, end))
