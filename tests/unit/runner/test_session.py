"""What a task sees: load, save, steps and progress, by hand and within an attempt."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoolmw import checkpoint, progress
from spoolmw.runner.desk import desk
from spoolmw.runner.order import Order

TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"


class Attempts:
    """Attempts of one task, one after the other, in this very process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.packets: list[bytes] = []
        self._number = 0

    def begin(self, every: float = 0.0, **told: Any) -> None:
        """The next attempt begins; the one before is over, however it ended."""
        self.end()
        self._number += 1
        desk.set_up(str(self.place), self.packets.append)
        wish = {"every": every}
        desk.order = Order(f"{TASK}.0.{self._number}", "t", "p", checkpoint=wish, **told)

    def end(self) -> None:
        desk.clear()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def told(self, first: str) -> list[dict[str, Any]]:
        """What the runner was told in packets that begin so."""
        found = (each for each in self.packets if each.startswith(first.encode()))
        return [json.loads(each[1:]) for each in found]

    @property
    def names(self) -> list[str]:
        folder = self.place / TASK / "0"
        return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    made = Attempts(tmp_path / "checkpoints")
    yield made
    made.end()


# -- by hand


def test_by_hand_all_of_it_does_nothing() -> None:
    default = {"step": 0}
    assert checkpoint.load(default) is default
    checkpoint.save(lambda: "not even picklable")
    assert not checkpoint.due()
    assert list(checkpoint.steps(iter("abc"), state=default)) == ["a", "b", "c"]
    progress(0.4, "epoch 4")


def test_what_is_wrong_is_told_by_hand_too() -> None:
    with pytest.raises(ValueError, match="a fraction from 0 to 1, not 40"):
        progress(40)
    with pytest.raises(TypeError, match="cannot restore a str in place"):
        checkpoint.steps(range(3), state="text")


# -- load and save


def test_the_next_attempt_gets_what_was_saved_last(attempts: Attempts) -> None:
    attempts.begin()
    assert checkpoint.load(0) == 0
    checkpoint.save(1)
    checkpoint.save(2)
    attempts.begin()
    assert checkpoint.load(0) == 2
    checkpoint.save(3)
    assert attempts.names == ["1-1", "1-2", "2-1"]
    attempts.begin()
    assert checkpoint.load(0) == 3


def test_a_save_that_is_not_due_writes_nothing(attempts: Attempts) -> None:
    attempts.begin(every=600)
    checkpoint.save(1)
    assert not checkpoint.due()
    assert attempts.names == []


def test_a_save_is_due_when_the_interval_has_passed(attempts: Attempts) -> None:
    attempts.begin(every=1.0)
    began = time.monotonic()
    count = 0
    while not attempts.names:
        checkpoint.save(count)
        count += 1
    assert time.monotonic() - began >= 1.0
    assert count > 1000
    checkpoint.save(count)
    assert attempts.names == ["1-1"]


def test_the_runner_is_told_of_what_was_saved_and_taken_up(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.save("x" * 1000)
    [told] = attempts.told("c")
    assert (told["attempt"], told["sequence"]) == (f"{TASK}.0.1", 1)
    assert 1000 < told["bytes"] < 1100
    attempts.begin()
    checkpoint.load(None)
    assert attempts.told("r") == [
        {
            "attempt": f"{TASK}.0.2",
            "message": "",
            "saved": [1, 1, told["saved_at"], told["bytes"]],
        }
    ]
    assert attempts.packets.count(b"s") == 2, "each says once that it saves"


def test_a_damaged_checkpoint_is_told_of_and_the_older_one_taken(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.save("older")
    checkpoint.save("newer")
    (attempts.place / TASK / "0" / "1-2" / "state.pickle").write_bytes(b"")
    attempts.begin()
    assert checkpoint.load("default") == "older"
    [told] = attempts.told("r")
    assert told["message"].startswith("checkpoint 1-2 is damaged: state.pickle has 0 bytes")


def test_with_nothing_whole_left_the_task_begins_anew_and_says_why(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.save("only")
    (attempts.place / TASK / "0" / "1-1" / "MANIFEST").write_bytes(b"{}")
    attempts.begin()
    assert checkpoint.load("default") == "default"
    [told] = attempts.told("r")
    assert "saved" not in told
    assert "1-1 is damaged" in told["message"]


def test_after_a_fresh_retry_older_attempts_do_not_count(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.save(1)
    attempts.begin(since=2)
    assert checkpoint.load(0) == 0


def test_an_attempt_that_is_launched_again_goes_on_counting(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.save(1)
    attempts._number = 0
    attempts.begin()
    checkpoint.save(2)
    assert attempts.names == ["1-1", "1-2"]


def test_a_state_that_cannot_be_pickled_is_the_tasks_error(attempts: Attempts) -> None:
    attempts.begin()
    with pytest.raises(TypeError, match=r"the state \(a generator\) cannot be saved"):
        checkpoint.save(x for x in [1])
    assert attempts.names == []


class Vanishing:
    """A class that is not there any more when the state is taken up."""


def test_a_whole_one_that_cannot_be_unpickled_is_an_error_not_a_fresh_start(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts.begin()
    checkpoint.save(Vanishing())
    monkeypatch.delitem(globals(), "Vanishing")
    attempts.begin()
    with pytest.raises(RuntimeError, match="1-1 is whole, but cannot be loaded here"):
        checkpoint.load(None)


def test_a_full_disk_is_only_warned_of(
    attempts: Attempts, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts.begin()
    attempts.place.write_text("a file where the folder should be")
    checkpoint.save(1)
    assert "checkpoint 1-1 could not be written" in capsys.readouterr().err
    checkpoint.save(1)
    assert not capsys.readouterr().err, "it is not tried again at once"


def test_a_child_that_the_task_forked_saves_nothing(attempts: Attempts) -> None:
    attempts.begin()
    checkpoint.load(None)
    pid = os.fork()
    if not pid:
        checkpoint.save("the child's")
        progress(0.5)
        os._exit(0)
    os.waitpid(pid, 0)
    assert attempts.names == []


# -- steps


def test_a_loop_goes_on_where_it_was(attempts: Attempts) -> None:
    seen: list[tuple[int, int]] = []

    def run(stop_at: int) -> int:
        total = {"sum": 0}
        for step in checkpoint.steps(range(10), state=total):
            if step == stop_at:
                return -1
            total["sum"] += step
            seen.append((attempts._number, step))
        return total["sum"]

    attempts.begin()
    assert run(4) == -1
    attempts.begin()
    assert run(7) == -1
    attempts.begin()
    assert run(99) == 45
    assert [step for _, step in seen] == list(range(10))
    assert [number for number, _ in seen] == [1] * 4 + [2] * 3 + [3] * 3


@pytest.mark.parametrize(
    "items",
    [range(100, 110), list("abcdefghij"), lambda: iter("abcdefghij"), itertools.count],
)
def test_what_is_done_of_any_iterable_is_left_out(attempts: Attempts, items: Any) -> None:
    def made() -> Any:
        return items() if callable(items) else items

    attempts.begin()
    first = list(itertools.islice(checkpoint.steps(made()), 4))
    attempts.begin()
    rest = list(itertools.islice(checkpoint.steps(made()), 6))
    # Three are saved as done: the body of the fourth may not have been through.
    assert [*first[:3], *rest] == list(itertools.islice(made(), 9 if callable(items) else 10))[
        :9
    ]


@dataclass
class World:
    """A state with attributes."""

    grid: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(4))
    log: list[str] = field(default_factory=list)
    step: int = 0


class Careful:
    """Says itself what is saved of it."""

    def __init__(self) -> None:
        self.value, self.handle = 0, object()

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value}


def change_array(x: Any) -> None:
    x += 1


def change_world(x: World) -> None:
    x.grid[:] = [1, 2, 3, 4]
    x.log.append("changed")
    x.step = 9


def change_careful(x: Careful) -> None:
    x.value = 5


CHANGES: list[tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda: {"a": 1, "b": 2}, lambda x: (x.pop("a"), x.update(c=3)), dict),
    (lambda: OrderedDict(a=1, b=2), lambda x: x.move_to_end("a"), lambda x: list(x.items())),
    (lambda: Counter("aab"), lambda x: x.update("ac"), dict),
    (lambda: defaultdict(list), lambda x: x["k"].append(1), dict),
    (lambda: [3, 1, 2], lambda x: x.sort(), list),
    (lambda: {1, 2}, lambda x: x.add(3), set),
    (lambda: bytearray(b"abc"), lambda x: x.extend(b"d"), bytes),
    (lambda: deque([1], 3), lambda x: x.extend([2, 3, 4]), list),
    (lambda: array("d", [1.5]), lambda x: x.append(2.5), list),
    (lambda: np.arange(6.0).reshape(2, 3), change_array, lambda x: x.tolist()),
    (lambda: np.array(1.5), change_array, float),
    (lambda: random.Random(1), lambda x: x.gauss(0, 1), lambda x: x.getstate()),
    (
        lambda: np.random.default_rng(1),
        lambda x: x.random(3),
        lambda x: str(x.bit_generator.state),
    ),
    (lambda: np.random.RandomState(1), lambda x: x.rand(), lambda x: x.get_state()[2]),
    (World, change_world, lambda x: (x.grid.tolist(), x.log, x.step)),
    (Careful, change_careful, lambda x: x.value),
]


@pytest.mark.parametrize(("make", "change", "look"), CHANGES)
def test_a_state_is_restored_in_the_very_object_that_is_given(
    attempts: Attempts,
    make: Callable[[], Any],
    change: Callable[[Any], Any],
    look: Callable[[Any], Any],
) -> None:
    attempts.begin()
    state = make()
    for _ in checkpoint.steps(range(1), state=state):
        change(state)
    assert look(state) != look(make())
    attempts.begin()
    again = make()
    assert list(checkpoint.steps(range(1), state=again)) == []
    assert look(again) == look(state)


def test_what_stands_in_the_state_is_restored_in_place_too(attempts: Attempts) -> None:
    def run(steps: int) -> tuple[Any, Any, dict[str, Any]]:
        x, rng = np.zeros(3), np.random.default_rng(1)
        state = {"x": x, "rng": rng, "n": 0}
        for _ in checkpoint.steps(range(steps), state=state):
            x += rng.random(3)
            state["n"] += 1
        return x, rng, state

    attempts.begin()
    run(3)
    attempts.begin()
    x, rng, state = run(6)
    attempts.end()
    right_x, right_rng, _ = run(6)
    assert (x == right_x).all()
    assert rng.random() == right_rng.random()
    assert state == {"x": x, "rng": rng, "n": 6}
    assert state["x"] is x


def test_a_tuple_stands_for_several_states(attempts: Attempts) -> None:
    def run() -> tuple[list[int], World]:
        numbers: list[int] = []
        world = World()
        for step in checkpoint.steps(range(2), state=(numbers, world)):
            numbers.append(step)
            world.log = [*world.log, "new list"]
            world.grid[step] = 1
        return numbers, world

    attempts.begin()
    run()
    attempts.begin()
    numbers, world = run()
    assert (numbers, world.log) == ([0, 1], ["new list"] * 2)
    assert world.grid.tolist() == [1, 1, 0, 0]


def test_references_between_parts_stay_references(attempts: Attempts) -> None:
    def run() -> tuple[list[Any], dict[str, Any]]:
        shared: list[Any] = []
        state: dict[str, Any] = {"shared": shared, "views": {"one": shared}}
        for step in checkpoint.steps(range(2), state=state):
            shared.append(step)
            state["self"] = state
            state["pair"] = (shared, step)
        return shared, state

    attempts.begin()
    run()
    attempts.begin()
    shared, state = run()
    assert shared == [0, 1]
    assert state["shared"] is state["views"]["one"] is state["pair"][0] is shared
    assert state["self"] is state


def test_a_member_that_was_replaced_is_replaced_again(attempts: Attempts) -> None:
    def run(steps: int) -> dict[str, Any]:
        state = {"x": np.zeros(3)}
        for _ in checkpoint.steps(range(steps), state=state):
            state["x"] = np.append(state["x"], 1.0)
        return state

    attempts.begin()
    run(2)
    attempts.begin()
    assert run(4)["x"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    attempts.begin()
    assert run(5)["x"].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_the_global_random_numbers_go_on_where_they_were(attempts: Attempts) -> None:
    def run(steps: int) -> list[float]:
        drawn: list[float] = []
        for _ in checkpoint.steps(range(steps), state=drawn):
            drawn.append(random.random() + float(np.random.rand()))
        return drawn

    random.seed(5)
    np.random.seed(5)
    right = run(6)
    attempts.begin()
    random.seed(5)
    np.random.seed(5)
    run(3)
    attempts.begin()
    random.seed()
    np.random.seed()
    assert run(6) == right


def test_a_loop_that_was_through_is_not_run_again(attempts: Attempts) -> None:
    attempts.begin()
    state = [0]
    for step in checkpoint.steps(range(3), state=state):
        state[0] += step
    attempts.begin()
    again = [0]
    assert list(checkpoint.steps(range(3), state=again)) == []
    assert again == [3]


@pytest.mark.parametrize(
    "unfit", ["text", 1, 1.5, frozenset(), (1, 2), int, len, np.zeros(3)[0]]
)
def test_what_cannot_be_restored_in_place_is_refused_at_once(
    attempts: Attempts, unfit: Any
) -> None:
    attempts.begin()
    with pytest.raises(TypeError, match=r"steps\(\) cannot restore a \w+ in place"):
        checkpoint.steps(range(3), state=unfit)


def test_an_array_that_cannot_be_written_is_refused(attempts: Attempts) -> None:
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    with pytest.raises(TypeError, match="cannot restore a ndarray"):
        checkpoint.steps(range(3), state=fixed)


def test_a_state_of_another_form_is_refused_by_name(attempts: Attempts) -> None:
    attempts.begin()
    list(checkpoint.steps(range(1), state={"x": np.zeros(3)}))
    attempts.begin()
    text = r"state\['x'\] was numpy.ndarray float64 \(3,\) and is numpy.ndarray float64 \(4,\)"
    with pytest.raises(RuntimeError, match=text):
        checkpoint.steps(range(1), state={"x": np.zeros(4)})


def test_a_task_saves_in_one_way_only(attempts: Attempts) -> None:
    attempts.begin(every=600)
    for _ in checkpoint.steps(range(1)):
        with pytest.raises(RuntimeError, match="saves by itself"):
            checkpoint.save(1)
    with pytest.raises(RuntimeError, match="only one loop"):
        checkpoint.steps(range(1))
    attempts.begin()
    checkpoint.load(None)
    with pytest.raises(RuntimeError, match="saves by itself"):
        checkpoint.steps(range(1))
    attempts.begin()
    list(checkpoint.steps(range(1)))
    attempts.begin()
    with pytest.raises(RuntimeError, match=r"made by checkpoint.steps\(\)"):
        checkpoint.load(None)


# -- progress


def test_progress_is_told_in_one_line(attempts: Attempts) -> None:
    attempts.begin()
    progress(np.float64(0.25), "epoch\n 4 ")
    [told] = attempts.told("p")
    assert told == {"attempt": f"{TASK}.0.1", "fraction": 0.25, "text": "epoch 4"}


def test_a_few_at_once_get_through_and_a_flood_does_not(attempts: Attempts) -> None:
    attempts.begin()
    began = time.monotonic()
    for n in range(20_000):
        progress(n / 20_000, f"step {n}")
    took_s = time.monotonic() - began
    told = attempts.told("p")
    assert 4 <= len(told) <= 5 + took_s * 4
    attempts.begin()
    progress(1)
    assert attempts.told("p")[-1]["fraction"] == 1, "the next attempt has its own allowance"


def test_what_rounding_adds_is_no_error(attempts: Attempts) -> None:
    attempts.begin()
    progress(sum([0.1] * 10) + 1e-9)
    progress(-1e-12)
    assert [each["fraction"] for each in attempts.told("p")] == [1, 0]
