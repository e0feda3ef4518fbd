"""Threats 36 and 37: the daemon never unpickles anything.

The daemon runs with every way to unpickle mined (see booby_trapped.py): here through a workload
of its own, and through the acceptance tests.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import Spool
from spoolmw.errors import TaskFailed
from spoolmw.format.ids import new_task_id
from spoolmw.format.taskwriter import write
from tests.support.daemon import ROOT, Daemon, end, header, trailer
from tests.support.gates import is_running, pass_gate
from tests.support.waiting import wait_until
from tests.threats.booby_trapped import EXIT, PREFIX, SAYS

CONFIG = (
    '[intake]\nsettle_s = 0.1\n[agents.local]\nkind = "local"\nslots = 2\n[daemon]\ngrace = 0\n'
)

#: Each sets off the mine that is named. `data` is a pickle, `was` what the mines replaced.
WAYS = {
    "pickle.loads(data)": "pickle.loads",
    "pickle.load(io.BytesIO(data))": "pickle.load",
    "pickle.Unpickler(io.BytesIO(data)).load()": "pickle.Unpickler",
    "type('U', (pickle.Unpickler,), {})(io.BytesIO(data))": "pickle.Unpickler",
    "pickle._Unpickler(io.BytesIO(data)).load()": "pickle._Unpickler",
    "_pickle.loads(data)": "_pickle.loads",
    "__import__('cloudpickle').loads(data)": "cloudpickle.loads",
    "shelve.open('none')": "shelve.open",
    "__import__('numpy').load('none', allow_pickle=True)": "numpy.load",
    "marshal.loads(marshal.dumps([]))": "marshal.loads",
    "copyreg._reconstructor(object, object, None)": "copyreg._reconstructor",
    "reduction.ForkingPickler.loads(data)": "multiprocessing.reduction.ForkingPickler.loads",
    "was['_pickle.loads'](data)": "pickle.find_class",
}
ARMED = """
import _pickle, copyreg, io, marshal, pickle, shelve
from multiprocessing import reduction
from tests.threats import booby_trapped
data = pickle.dumps(io.BytesIO)
was = booby_trapped.arm()
import colorsys, logging.config  # to import something sets nothing off
print("armed", flush=True)
"""


@pytest.fixture
def mined(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, config=CONFIG)
    daemon.prefix = PREFIX
    try:
        yield daemon.start()
    finally:
        end(daemon)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_unpickle_sets_a_mine_off(way: str) -> None:
    if "numpy" in way:
        pytest.importorskip("numpy")
    done = subprocess.run(
        [sys.executable, "-c", f"{ARMED}\n{way}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "armed\n", done.stderr
    assert done.returncode == EXIT, done.stderr
    assert f"{SAYS} by {WAYS[way]}" in done.stderr


def test_the_mines_lie_in_the_running_daemon(mined: Daemon) -> None:
    os.kill(mined.pid, signal.SIGUSR2)
    assert mined.wait_exit() == EXIT
    assert f"{SAYS} by pickle.loads" in mined.log_text()


class Own:
    """A value that only a pickle can carry."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


class Bomb:
    """Unpickled anywhere, it leaves its process's id behind."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        place = str(self.place)
        return exec, (
            f"import os\nwith open({place!r}, 'a') as file: print(os.getpid(), file=file)",
        )


def fail(text: str) -> None:
    raise LookupError(text)


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def make_own(number: int) -> Own:
    return Own(number)


def make_bomb(place: Path) -> Bomb:
    return Bomb(place)


def test_no_task_and_no_result_makes_the_daemon_unpickle(mined: Daemon, tmp_path: Path) -> None:
    spool = Spool(mined.spool)
    assert spool.submit(pow, 2, 10).result(60) == 1024
    assert spool.submit(make_own, 7).result(60) == Own(7)
    with pytest.raises(LookupError, match="told"):
        spool.submit(fail, "told").result(60)
    with pytest.raises(TaskFailed, match="SEGV"):
        spool.options(retries=0).submit(die).result(60)
    assert list(spool.map(abs, range(-30, 0), chunk=7)) == list(range(30, 0, -1))
    twins = [spool.options(key="once").submit(make_own, 1) for _ in range(3)]
    assert [twin.result(60) for twin in twins] == [Own(1)] * 3
    with spool.executor() as pool:
        assert pool.submit(sorted, [2, 1]).result(60) == [1, 2]
    mined.drop(
        "again.sh",
        "#!/bin/sh\n#SPOOLMW retry.on = ['exit:75']\n#SPOOLMW retry.backoff = 0.01\nexit 75\n",
    )
    assert header(mined.result("again.sh"))["exit_code"] == 75
    assert len(list(trailer(mined.result("again.sh"))["attempts"])) == 3  # type: ignore[call-overload]
    mined.drop("bad.toml", "[run]\ncomand = []\n")
    mined.rejected("bad.toml")
    _ask_everything(mined)
    _explode(mined, tmp_path)


def _ask_everything(daemon: Daemon) -> None:
    failed = next(task["id"] for task in daemon.ctl_json("ls", "--state", "failed"))
    for words in (["status"], ["show", failed], ["why", failed], ["stats"], ["retry", failed]):
        daemon.ctl(*map(str, words), check=words != ["stats"])


def _explode(daemon: Daemon, tmp_path: Path) -> None:
    """Bodies and values that are bombs go off in the worker and in the caller, nowhere else."""
    place = tmp_path / "exploded"
    body = pickle.dumps((Bomb(place), (), {}))
    half = daemon.spool / "tmp" / "bomb.part"
    half.write_bytes(write({"id": new_task_id(), "name": "bomb"}, body))
    half.rename(daemon.spool / "incoming" / "bomb.task")
    daemon.result("bomb")
    assert len(place.read_text().split()) == 1
    task = Spool(daemon.spool).options(keep=True, result="pickle").submit(make_bomb, place)
    task.result(60)
    daemon.ctl("show", task.id)
    assert str(daemon.pid) not in place.read_text().split()


def test_no_recovery_makes_the_daemon_unpickle(mined: Daemon, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    spool = Spool(mined.spool)
    running = spool.submit(pass_gate, str(gate), Own(3))
    waiting = [spool.submit(make_own, number) for number in range(20)]
    twin = spool.options(key="k").submit(pass_gate, str(gate), 1)
    wait_until(lambda: is_running(gate))
    mined.kill_everything()
    assert mined.start("--rebuild", wait=False).wait_exit() == 0
    mined.start()
    gate.touch()
    assert running.result(60) == Own(3)
    assert twin.result(60) == 1
    assert [task.result(60) for task in waiting] == [Own(number) for number in range(20)]
    assert SAYS not in mined.log_text()


def test_the_acceptance_tests_do_not_make_the_daemon_unpickle(tmp_path: Path) -> None:
    """Those of dropped files and of the helper that do more than wait."""
    drop = (
        "inputs_and_outputs or same_name or while_the_daemon_was_down or failing or second_file"
    )
    helper = "key or command or cancel or calls or dies or yielded or running or stats"
    for tests, chosen in (("test_drop", drop), ("test_helper", helper)):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
                f"--basetemp={tmp_path / tests}",
                *("-p", "tests.threats.booby_trapped", "-k", chosen),
                f"tests/acceptance/{tests}.py",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
