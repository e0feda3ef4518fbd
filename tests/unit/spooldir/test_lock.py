"""One daemon for each spool, whatever happened to the last one (threats 30, 61, 66, 67)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw.errors import BadSpool, SpoolBusy
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.lock import SpoolLock, holder

HOLD = (
    "import sys; from pathlib import Path; from spoolmw.spooldir.lock import SpoolLock\n"
    "lock = SpoolLock.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def other(layout: Layout) -> subprocess.Popen[str]:
    """Another process that holds the spool."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_daemon_is_refused_and_told_who_holds_the_spool(
    layout: Layout, other: subprocess.Popen[str]
) -> None:
    try:
        with pytest.raises(SpoolBusy) as caught:
            SpoolLock.acquire(layout.lock)
        assert str(other.pid) in caught.value.why
        assert f"kill {other.pid}" in caught.value.fix
        assert "drain" not in caught.value.fix, "which goes on holding the spool"
        assert holder(layout.lock) == other.pid
    finally:
        end(other)


def test_a_killed_holder_leaves_no_stale_lock(
    layout: Layout, other: subprocess.Popen[str]
) -> None:
    end(other)
    assert holder(layout.lock) is None
    SpoolLock.acquire(layout.lock).release()


def test_a_number_left_in_the_file_holds_nobody_up(layout: Layout) -> None:
    layout.lock.write_text(f"{os.getpid()}\n")
    SpoolLock.acquire(layout.lock).release()


def test_the_lock_is_not_inherited_by_programs(layout: Layout) -> None:
    lock = SpoolLock.acquire(layout.lock)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        lock.release()
        SpoolLock.acquire(layout.lock).release()
    finally:
        child.kill()
        child.wait()


def test_releasing_twice_is_no_error(layout: Layout) -> None:
    lock = SpoolLock.acquire(layout.lock)
    lock.release()
    lock.release()
    assert holder(layout.lock) is None


def test_a_link_in_place_of_the_lock_is_refused(layout: Layout, tmp_path: Path) -> None:
    layout.lock.symlink_to(tmp_path / "victim")
    with pytest.raises(BadSpool):
        SpoolLock.acquire(layout.lock)
    assert not (tmp_path / "victim").exists()
