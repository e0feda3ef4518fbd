"""Threats 64 to 88 that tests/crash does not hold: signals, versions, descriptors, squatters, backups."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import Spool
from tests.support.daemon import Daemon, end, running, trailer
from tests.support.waiting import wait_until

SCRIPT = "#!/bin/sh\necho ran\n"
ONE_SLOT = "[intake]\nsettle_s = 0.2\n[agents.local]\nslots = 1\n"
#: The status of a daemon that could not start.
EXIT_START = 2


def test_65_a_signal_for_a_broken_pipe_means_nothing(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGPIPE)
    daemon.drop("after.sh", SCRIPT)
    daemon.result("after.sh")


def test_65_a_daemon_that_was_stopped_for_a_while_goes_on(daemon: Daemon) -> None:
    mark = daemon.home / "running"
    daemon.drop("stopped.sh", f"#!/bin/sh\necho >{mark}\nsleep 0.5\necho done\n")
    wait_until(mark.exists)
    os.kill(daemon.pid, signal.SIGSTOP)
    daemon.drop("meanwhile.sh", SCRIPT)
    time.sleep(1.5)  # what is tested is that time passes
    os.kill(daemon.pid, signal.SIGCONT)
    told = trailer(daemon.result("stopped.sh"))
    assert told["state"] == "done"
    attempts = told["attempts"]
    assert isinstance(attempts, list)
    assert len(attempts) == 1
    daemon.result("meanwhile.sh")


def test_70_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(ground: Path) -> None:
    with running(ground, config=ONE_SLOT) as daemon:
        daemon.drop("one.sh", SCRIPT)
        daemon.result("one.sh")
        assert daemon.stop() == 0
        journal = daemon.spool / "journal" / "spoolmw.db"
        with contextlib.closing(sqlite3.connect(journal)) as db:
            db.execute("PRAGMA user_version = 99")
        before = journal.read_bytes()
        daemon.start(wait=False)
        assert daemon.wait_exit() == EXIT_START
        assert "version 99" in daemon.log_text()
        assert journal.read_bytes() == before


def test_81_without_descriptors_it_waits_and_does_not_spin(ground: Path) -> None:
    with running(ground, config=ONE_SLOT) as daemon:
        spool = Spool(daemon.spool)
        assert spool.submit(abs, -1).result(timeout=60) == 1
        used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 4, 4096))
        callers = [knock(daemon) for _ in range(40)]
        began = processor_s(daemon.pid)
        time.sleep(1.0)  # an idle second, in which a spinning daemon shows
        assert processor_s(daemon.pid) - began < 0.5
        for caller in callers:
            caller.close()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (1024, 4096))
        assert spool.submit(abs, -2).result(timeout=60) == 2
        wait_until(lambda: daemon.ctl("status", check=False).returncode == 0)


def knock(daemon: Daemon) -> socket.socket:
    """A connection to the control socket that says nothing."""
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    caller.connect(str(daemon.spool / "control.sock"))
    return caller


def processor_s(pid: int) -> float:
    """Processor time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- 84, 86, 88


def test_84_who_squats_on_a_results_name_keeps_it_and_the_result_gets_another(
    daemon: Daemon,
) -> None:
    victim = daemon.home / "victim"
    victim.write_text("untouched")
    daemon.ctl("pause", "local")
    daemon.drop("squat.sh", SCRIPT)
    wait_until(lambda: any(row["name"] == "squat.sh" for row in daemon.ctl_json("ls")))
    squatter = daemon.spool / "results" / "squat.sh.result"
    squatter.symlink_to(victim)
    daemon.ctl("resume", "local")
    [result] = wait_until(lambda: list((daemon.spool / "results").glob("squat.sh.*.result")))
    assert trailer(result)["state"] == "done"
    assert squatter.is_symlink()
    assert victim.read_text() == "untouched"
    squatter.unlink()


def test_84_a_squatted_folder_of_files_is_not_written_to(daemon: Daemon) -> None:
    elsewhere = daemon.home / "elsewhere"
    elsewhere.mkdir()
    (daemon.spool / "results" / "folder.sh.files").symlink_to(elsewhere)
    daemon.drop("folder.sh", SCRIPT)
    [result] = wait_until(
        lambda: list((daemon.spool / "results").glob("folder.sh*.result")), last=daemon.log_text
    )
    assert (result.with_suffix(".files") / "stdout").read_text() == "ran\n"
    assert list(elsewhere.iterdir()) == []
    (daemon.spool / "results" / "folder.sh.files").unlink()


def test_86_a_journal_from_yesterday_does_not_undo_today(ground: Path) -> None:
    with running(ground, config=ONE_SLOT) as daemon:
        daemon.ctl("pause", "local")
        daemon.drop("first.sh", SCRIPT)
        daemon.drop("second.sh", SCRIPT)
        wait_until(lambda: len(daemon.ctl_json("ls")) == 2)
        assert daemon.stop() == 0
        shutil.copytree(daemon.spool / "journal", ground / "backup")
        daemon.start()
        daemon.ctl("resume", "local")
        daemon.result("first.sh")
        newer = daemon.result("second.sh")
        content = newer.read_bytes()
        assert daemon.stop() == 0
        shutil.rmtree(daemon.spool / "journal")
        shutil.copytree(ground / "backup", daemon.spool / "journal")
        daemon.start(wait=False)
        assert daemon.wait_exit() == EXIT_START
        assert "--rebuild" in daemon.log_text()
        daemon.start("--rebuild", wait=False)
        assert daemon.wait_exit() == 0
        daemon.start()
        daemon.drop("third.sh", SCRIPT)
        daemon.result("third.sh")
        assert newer.read_bytes() == content
        assert len(daemon.results()) == 3


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[intake]\nsetle_s = 1\n", "settle_s"),
        ("[intake\n", "line 1"),
        ("[agents.local]\nslots = true\n", "slots"),
        ("[agents.cloud]\nkind = 'boinc'\n", "no address for clients"),
        ("\x00", "NUL"),
    ],
)
def test_88_a_wrong_configuration_is_refused_with_what_is_wrong(
    ground: Path, config: str, says: str
) -> None:
    daemon = Daemon(ground, config=config)
    daemon.start(wait=False)
    assert daemon.wait_exit() == EXIT_START
    assert says in daemon.log_text()
    end(daemon)


@pytest.fixture
def slow(ground: Path) -> Iterator[Daemon]:
    """A daemon of the test's own."""
    with running(ground, config=ONE_SLOT) as daemon:
        yield daemon


def test_87_tasks_that_wait_and_run_at_a_restart_are_taken_over(slow: Daemon) -> None:
    gate = slow.home / "gate"
    mark = slow.home / "mark"
    slow.drop(
        "runs.sh", f"#!/bin/sh\necho x >>{mark}\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"
    )
    wait_until(mark.exists)
    slow.drop("waits.sh", SCRIPT)
    wait_until(lambda: not (slow.spool / "incoming" / "waits.sh").exists())
    slow.kill()
    slow.start()
    gate.touch()
    for name in ("runs.sh", "waits.sh"):
        assert trailer(slow.result(name))["state"] == "done"
