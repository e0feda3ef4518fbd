"""A Python state in a checkpoint: what comes back is equal, and memory is not filled with copies."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoolmw.runner import checkpoint, state
from spoolmw.runner.checkpoint import Checkpoint, Draft, Owner
from tests.layers.source import ROOT

MB = 1 << 20


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(str(tmp_path), "0193f3a1b2c44d0f8e7a6b5c4d3e2f10", 0)


def saved(owner: Owner, value: Any) -> Checkpoint:
    with Draft(owner, (1, 1), "call") as draft:
        more = state.write(draft, value)
        return draft.seal(**more)


def through(owner: Owner, value: Any) -> Any:
    """What comes back of a value that is saved and read."""
    return state.read(checkpoint.verify(saved(owner, value).path, owner))


class Simulation:
    """As a task may have one."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.grid = np.arange(12.0).reshape(3, 4)


def test_plain_values_come_back(owner: Owner) -> None:
    value = {"step": 17, "text": "ä", "nested": [(1, 2.5), {3}, None], "raw": b"\0" * 100_000}
    assert through(owner, value) == value


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_from_a_file_of_its_own_and_can_be_changed(
    owner: Owner, order: Any
) -> None:
    array = np.asarray(np.random.default_rng(1).random((300, 400)), order=order)
    made = saved(owner, {"x": array})
    assert Path(made.path, "buffers").stat().st_size == array.nbytes
    assert Path(made.path, "state.pickle").stat().st_size < 1000
    back = state.read(made)["x"]
    assert np.array_equal(back, array)
    assert back.flags["F_CONTIGUOUS"] == array.flags["F_CONTIGUOUS"]
    back += 1


def test_small_arrays_stay_in_the_pickle(owner: Owner) -> None:
    made = saved(owner, [np.full(3, n) for n in range(1000)])
    assert not Path(made.path, "buffers").exists()
    assert [int(each[0]) for each in state.read(made)] == list(range(1000))


def test_what_is_no_piece_of_memory_comes_back_too(owner: Owner) -> None:
    grid = np.arange(100_000.0).reshape(100, 1000)
    back = through(owner, [grid[::2, ::3], grid.astype(object), np.empty((0, 5))])
    assert np.array_equal(back[0], grid[::2, ::3])
    assert (back[1] == grid).all()
    assert back[2].shape == (0, 5)


def test_one_array_in_two_places_is_one_afterwards(owner: Owner) -> None:
    array = np.zeros(100_000)
    one, two = through(owner, (array, array))
    assert one is two


def test_generators_of_random_numbers_go_on_where_they_were(owner: Owner) -> None:
    plain, modern = random.Random(3), np.random.default_rng(3)
    plain.gauss(0, 1)
    old, new = through(owner, (plain, modern))
    assert old.gauss(0, 1) == plain.gauss(0, 1)
    assert (new.random(10) == modern.random(10)).all()


def test_what_plain_pickle_refuses_goes_by_cloudpickle(owner: Owner) -> None:
    class Local:
        def __init__(self) -> None:
            self.big = np.ones(100_000)

    value = Local()
    made = saved(owner, (lambda x: x + 1, value))
    function, back = state.read(made)
    assert function(1) == 2
    assert (back.big == 1).all()
    assert Path(made.path, "buffers").stat().st_size == value.big.nbytes, "written once"


def test_a_state_that_nothing_can_pickle_is_refused_with_its_type(owner: Owner) -> None:
    with pytest.raises(
        state.CannotSave, match=r"the state \(a dict\) cannot be saved: TypeError"
    ):
        saved(owner, {"rows": (x for x in [1])})
    assert checkpoint.orders(owner) == []


#: Peak memory above what the state itself takes, in MB, of saving it and of taking it up.
MEASURED = """
import re, sys
import numpy as np
from spoolmw import checkpoint as face
from spoolmw.runner import checkpoint, state
from spoolmw.runner.checkpoint import Draft, Owner
from spoolmw.runner.desk import desk
from spoolmw.runner.order import Order

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

owner = Owner(sys.argv[1], "0193f3a1b2c44d0f8e7a6b5c4d3e2f10", 0)
base = peak_mb()
if sys.argv[2] == "save":
    value = {"x": np.ones(200 << 17), "step": 1}
    with Draft(owner, (1, 1), "call") as draft:
        more = state.write(draft, value)
        draft.seal(**more)
elif sys.argv[2] == "restore":
    desk.set_up(sys.argv[1], len)
    desk.order = Order("0193f3a1b2c44d0f8e7a6b5c4d3e2f11.0." + sys.argv[3], "", "", checkpoint={"every": 0})
    x = np.zeros(200 << 17)
    for step in face.steps(range(2), state={"x": x}):
        x += 1
        if sys.argv[3] == "1" and step == 1:
            break
    assert x[0] == x[-1] == 2
else:
    found, _ = checkpoint.newest(owner, "call")
    value = state.read(found)
    assert value["x"][-1] == 1 and value["x"].nbytes == 200 << 20
print(round(peak_mb() - base))
"""


def peak_mb(place: Path, *act: str) -> int:
    """What `act` needed at its peak, the state of 200 MB included."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(place), *act],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_a_state_of_200_mb_is_in_memory_once_while_it_is_saved_and_taken_up(
    tmp_path: Path,
) -> None:
    assert 200 <= peak_mb(tmp_path, "save") < 230
    assert 200 <= peak_mb(tmp_path, "load") < 230


def test_a_loop_that_is_restored_in_place_has_its_state_in_memory_twice_at_most(
    tmp_path: Path,
) -> None:
    assert 200 <= peak_mb(tmp_path, "restore", "1") < 230
    assert 400 <= peak_mb(tmp_path, "restore", "2") < 430
