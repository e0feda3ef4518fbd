"""A full disk: intake stops and says why, nothing is lost, work goes on when there is room."""

from __future__ import annotations

import os
import time
from pathlib import Path

from spoolmw import Spool
from tests.crash.disks import EXT4, TMPFS, Filler, break_down, mount_again, on_disk
from tests.support.daemon import Daemon, running, trailer
from tests.support.waiting import wait_until

CONFIG = """\
[intake]
settle_s = 0.1
[disk]
low = "{low}"
[agents.local]
kind = "local"
slots = 2
"""
SCRIPT = "#!/bin/sh\necho {}\n"


def why_closed(daemon: Daemon) -> str:
    """Why the daemon takes no files, as `spoolmw-ctl status` tells it."""
    [status] = daemon.ctl_json("status")
    intake = status["intake"]
    assert isinstance(intake, dict)
    return "" if intake["open"] else str(intake["reason"])


def processor_s(pid: int) -> float:
    """Processor time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ids_of(daemon: Daemon) -> list[str]:
    """The task of every result, sorted."""
    return sorted(str(trailer(path)["id"]) for path in daemon.results())


def large(number: int) -> bytes:
    """A result of 200 kB, after a while."""
    time.sleep(0.2)
    return bytes([number]) * 200_000


@on_disk(TMPFS)
def test_below_the_watermark_intake_stops_and_says_why_until_there_is_room(home: Path) -> None:
    filler = Filler(home)
    with running(home, config=CONFIG.format(low="8MB")) as daemon:
        daemon.drop("before.sh", SCRIPT.format(1))
        daemon.result("before.sh")
        filler.leave(4_000_000)
        wait_until(lambda: "disk low" in why_closed(daemon))
        daemon.drop("meanwhile.sh", SCRIPT.format(2))
        wait_until(lambda: "disk low" in why_closed(daemon))
        assert (daemon.spool / "incoming" / "meanwhile.sh").exists()
        filler.give_back()
        daemon.result("meanwhile.sh")
        wait_until(lambda: why_closed(daemon) == "")


@on_disk(TMPFS)
def test_when_files_run_out_intake_stops_and_says_why_until_there_are_some(home: Path) -> None:
    filler = Filler(home)
    with running(home, config=CONFIG.format(low="1MB")) as daemon:
        filler.leave_inodes(500)
        wait_until(lambda: "inodes" in why_closed(daemon))
        daemon.drop("meanwhile.sh", SCRIPT.format(2))
        filler.give_back()
        daemon.result("meanwhile.sh")


def survive_a_full_disk(home: Path) -> None:
    """Fill the disk to the last byte while tasks run and wait; give it back; all is delivered once."""
    filler = Filler(home)
    with running(home, config=CONFIG.format(low="1kB")) as daemon:
        spool = Spool(daemon.spool).options(keep=True)
        tasks = [spool.submit(large, number) for number in range(40)]
        wait_until(lambda: len(daemon.results()) >= 5, last=daemon.log_text)
        filler.leave_nothing()
        wait_until(lambda: "disk" in why_closed(daemon), last=daemon.log_text)
        assert len(daemon.results()) < len(tasks)
        filler.give_back()
        for number, task in enumerate(tasks):
            assert task.result(timeout=60) == large(number)
        wait_until(lambda: why_closed(daemon) == "")
        assert daemon.process is not None
        assert daemon.process.poll() is None
        assert ids_of(daemon) == sorted(task.id for task in tasks)
        lines = daemon.log_text().splitlines()
        assert len(lines) < 1000, "the log is flooded while the disk is full"


@on_disk(TMPFS)
def test_tasks_survive_a_disk_in_memory_that_is_full_to_the_last_byte(home: Path) -> None:
    survive_a_full_disk(home)


@on_disk(EXT4)
def test_tasks_survive_an_ext4_that_is_full_to_the_last_byte(home: Path) -> None:
    survive_a_full_disk(home)


@on_disk(TMPFS)
def test_tasks_survive_a_disk_without_a_single_free_inode(home: Path) -> None:
    filler = Filler(home)
    with running(home, config=CONFIG.format(low="1kB")) as daemon:
        spool = Spool(daemon.spool).options(keep=True)
        tasks = [spool.submit(large, number) for number in range(40)]
        wait_until(lambda: len(daemon.results()) >= 5, last=daemon.log_text)
        filler.leave_inodes(0)
        wait_until(lambda: "inodes" in why_closed(daemon), last=daemon.log_text)
        filler.give_back()
        for number, task in enumerate(tasks):
            assert task.result(timeout=60) == large(number)


@on_disk(TMPFS)
def test_a_daemon_that_is_killed_on_a_full_disk_goes_on_when_there_is_room(home: Path) -> None:
    filler = Filler(home)
    with running(home, config=CONFIG.format(low="1kB")) as daemon:
        spool = Spool(daemon.spool).options(keep=True)
        tasks = [spool.submit(large, number) for number in range(30)]
        wait_until(lambda: len(daemon.results()) >= 3, last=daemon.log_text)
        filler.leave_nothing()
        wait_until(lambda: "disk" in why_closed(daemon), last=daemon.log_text)
        daemon.kill_everything()
        filler.give_back()
        daemon.start()
        for number, task in enumerate(tasks):
            assert task.result(timeout=60) == large(number)
        assert ids_of(daemon) == sorted(task.id for task in tasks)


@on_disk(EXT4)
def test_a_disk_that_becomes_read_only_ends_the_daemon_or_leaves_it_idle_and_loses_nothing(
    home: Path,
) -> None:
    with running(home, config=CONFIG.format(low="1kB")) as daemon:
        spool = Spool(daemon.spool).options(keep=True)
        tasks = [spool.submit(large, number) for number in range(30)]
        wait_until(lambda: len(daemon.results()) >= 3, last=daemon.log_text)
        break_down(home)
        time.sleep(2.0)  # what is tested is what it does in the meantime
        assert daemon.process is not None
        if daemon.process.poll() is None:
            began = processor_s(daemon.pid)
            time.sleep(1.0)  # a second in which a spinning daemon shows
            assert processor_s(daemon.pid) - began < 0.5
            daemon.kill_everything()
        assert daemon.process.returncode != 0
        mount_again(home)
        daemon.start()
        for number, task in enumerate(tasks):
            assert task.result(timeout=60) == large(number)
        assert ids_of(daemon) == sorted(task.id for task in tasks)
