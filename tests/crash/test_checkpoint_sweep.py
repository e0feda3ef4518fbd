"""kill -9 at every system call of a task that saves: each time only whole checkpoints are left.

A program saves a growing state as a worker does, and is killed at the entry of each call by
which it changes the folder; the next one must find a state that was saved, not older than
what was last told of, and clean up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from spoolmw.runner import checkpoint
from spoolmw.runner.checkpoint import Owner
from tests.crash.injection import kill, needs_strace, points, spread, trace
from tests.layers.source import ROOT

TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"
POINTS = None if os.environ.get("SPOOLMW_CRASH") == "full" else 24

#: Saves numbers 1 to 3 above what it finds, each with a large buffer; tells on standard output
#: what is saved. Attempt and folder are its arguments.
PROGRAM = """
import os, pickle, sys
sys.path.insert(0, sys.argv[3])
from spoolmw import checkpoint
from spoolmw.runner.desk import desk
from spoolmw.runner.order import Order

class Large:
    def __init__(self, n): self.n, self.data = n, bytes([n]) * 50_000
    def __reduce_ex__(self, protocol): return _large, (self.n, pickle.PickleBuffer(self.data))

def _large(n, data):
    assert bytes(data) == bytes([n]) * 50_000
    return n

desk.set_up(sys.argv[1], lambda packet: os.write(1, packet[:1]) if packet[:1] == b"c" else 0)
desk.order = Order(f"{sys.argv[4]}.0.{sys.argv[2]}", "", "", checkpoint={"every": 0})
n = checkpoint.load(0)
for step in range(3):
    n += 1
    checkpoint.save(Large(n))
"""


def run(place: Path, attempt: int, prefix: list[str]) -> tuple[int, int]:
    """Run the program; its exit status and how many checkpoints it told of."""
    args = [str(place), str(attempt), str(ROOT), TASK]
    program = [*prefix, sys.executable, "-S", "-c", PROGRAM, *args]
    done = subprocess.run(program, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.count(b"c")


def newest(place: Path) -> int:
    """The number in the newest checkpoint, 0 for none; every other must be whole too."""
    owner = Owner(str(place), TASK, 0)
    for order in checkpoint.orders(owner):
        checkpoint.verify(f"{owner.folder}/{order[0]}-{order[1]}", owner)
    found, notes = checkpoint.newest(owner, "call")
    assert notes == []
    return found.order[1] if found is not None else 0


@needs_strace
def test_a_kill_at_any_call_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    run(tmp_path / "traced", 1, trace(tmp_path / "calls"))
    every = points(tmp_path / "calls", tmp_path / "traced")
    assert len(every) > 40
    killed = 0
    for number, point in enumerate(spread(every, POINTS or len(every))):
        place = tmp_path / str(number)
        status, told = run(place, 1, kill(point))
        killed += status != 0
        saved = newest(place)
        assert told <= saved <= told + 1, f"{point}: told of {told}, found {saved}"
        status, told = run(place, 2, [])
        assert (status, told) == (0, 3), str(point)
        names = os.listdir(place / TASK / "0")
        assert not [name for name in names if name.startswith(".")], f"{point}: {names}"
        owner = Owner(str(place), TASK, 0)
        found, _ = checkpoint.newest(owner, "call")
        assert found is not None
        assert found.order == (2, 3)
    assert killed >= 0.9 * min(len(every), POINTS or len(every))


def prepared(place: Path) -> Path:
    """What a killed attempt may leave at worst: a damaged newest checkpoint, and half of one."""
    run(place, 1, [])
    folder = place / TASK / "0"
    with open(folder / "1-3" / "buffers", "r+b") as file:
        file.truncate(17)
    (folder / ".1-4.tmp").mkdir()
    (folder / ".1-4.tmp" / "state.pickle").write_bytes(b"half")
    return folder


@needs_strace
def test_a_kill_at_any_call_of_a_resumption_leaves_it_possible(tmp_path: Path) -> None:
    prepared(tmp_path / "traced")
    run(tmp_path / "traced", 2, trace(tmp_path / "calls"))
    every = points(tmp_path / "calls", tmp_path / "traced")[:20]
    assert any(".1-4.tmp" in point.text for point in every), "it cleans up"
    assert any(".1-3.damaged" in point.text for point in every), "it sets aside"
    for number, point in enumerate(every):
        place = tmp_path / str(number)
        folder = prepared(place)
        run(place, 2, kill(point))
        status, _ = run(place, 3, [])
        assert status == 0, str(point)
        found, notes = checkpoint.newest(Owner(str(place), TASK, 0), "call")
        assert notes == []
        assert found is not None
        assert found.order == (3, 3)
        assert not [name for name in os.listdir(folder) if name.endswith(".tmp")], str(point)
