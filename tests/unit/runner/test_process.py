"""Trees of processes are found and ended whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.runner import process
from tests.support.waiting import wait_until

TREE = "sleep 60 & sh -c 'sleep 60 & sleep 60' & wait"
#: Forks as fast as it can, each child going on with it, until it is stopped.
BOMB = """
import os, time
for _ in range(300):
    if os.fork():
        os._exit(0)
time.sleep(60)
"""


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(["sh", "-c", TREE])
    yield started
    process.kill_tree(started.pid, root_too=True)
    started.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_descendants_are_found(tree: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: len(process.descendants(tree.pid)) == 4)
    assert process.children(tree.pid) == process.descendants(tree.pid)[:2]


def test_a_tree_is_killed_whole(tree: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: len(process.descendants(tree.pid)) == 4)
    pids = [tree.pid, *process.descendants(tree.pid)]
    process.kill_tree(tree.pid, root_too=True)
    tree.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_the_root_may_be_spared(tree: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: len(process.descendants(tree.pid)) == 4)
    below = process.descendants(tree.pid)
    process.kill_tree(tree.pid, root_too=False)
    wait_until(lambda: not any(alive(pid) for pid in below))


def test_what_is_gone_has_no_descendants() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert process.descendants(gone.pid) == []
    assert process.usage(gone.pid) == process.Usage(0, 0.0)
    process.send(gone.pid, 0)


HUNGRY = """
import os, time
os.fork()
kept = bytearray(b"x" * 60_000_000)
time.sleep(60)
"""


def test_usage_counts_the_whole_tree() -> None:
    started = subprocess.Popen([sys.executable, "-c", HUNGRY])
    try:
        wait_until(lambda: process.usage(started.pid).memory_bytes > 100_000_000)
    finally:
        process.kill_tree(started.pid, root_too=True)
        started.wait()


REAPER = f"""
import os, subprocess, sys
from spoolmw.runner import process
process.become_subreaper()
subprocess.run([sys.executable, "-c", {BOMB!r}])
print(process.end_children(), process.children(os.getpid()))
print(process.end_children())
"""


def test_a_chain_of_forks_cannot_run_away_from_its_reaper() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAPER], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True []\nFalse\n"


#: The first looks find nobody: a process forks and ends just when its children are asked for.
BLIND = """
import os, subprocess
from spoolmw.runner import process
process.become_subreaper()
see, looks = process.descendants, []
process.descendants = lambda pid: see(pid) if looks.append(pid) or len(looks) > 2 else []
subprocess.run(["sh", "-c", "sleep 60 >&- & sleep 60 >&- &"])
print(process.end_children(), process.children(os.getpid()))
"""


def test_who_is_missed_by_a_look_is_ended_by_the_next() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLIND], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True []\n"


#: Has a child more every few milliseconds.
FERTILE = "import os, time\nwhile os.fork(): time.sleep(0.005)\ntime.sleep(60)"


def test_no_look_is_the_last_before_all_that_were_found_stand_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who was in the middle of a fork when it was stopped has one child more afterwards."""
    mark = f"SPOOLMW_WORKER=fertile{os.getpid()}"
    started = subprocess.Popen([sys.executable, "-c", FERTILE], env=dict([mark.split("=")]))
    wait_until(lambda: process.children(started.pid))
    send, late = process.send, []

    def send_late(*told: int) -> None:
        late.append(threading.Timer(0.03, send, told))
        late[-1].start()

    try:
        monkeypatch.setattr(process, "send", send_late)
        stopped = process.stop_tree(started.pid, root_too=True)
        for each in late:
            each.join()
        assert stopped == set(process.descendants(started.pid))
    finally:
        monkeypatch.undo()
        process.kill_marked(mark.encode())
        started.wait()


def test_leftovers_are_found_by_their_mark_and_gone_afterwards() -> None:
    mark = f"SPOOLMW_WORKER=test{os.getpid()}"
    text = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(60)"
    env = dict([mark.split("=")])
    subprocess.run([sys.executable, "-c", text], env=env, check=True)
    wait_until(lambda: list(process.carrying([mark.encode()])))
    assert process.kill_marked(mark.encode()) == 1
    assert list(process.carrying([mark.encode()])) == []
    assert process.kill_marked(mark.encode()) == 0
