"""How the worker puts values of other tasks in their places, and what of them it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spoolmw.format import call
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Cause, Outcome
from spoolmw.model.events import Reported
from spoolmw.runner import results
from spoolmw.runner.call import encode
from tests.unit.agents.conftest import Local

ONE = "0193a0000000" + "1" * 20


def same(*values: Any) -> Any:
    return values


def keep(local: Local, value: Any, *, wish: str = "auto", **trailer: Any) -> Path:
    """Put a value into `values/` as the daemon does."""
    folder = local.root / "values"
    folder.mkdir(exist_ok=True)
    path = folder / ONE
    _, digest = results.write(str(path), "one", f"{ONE}.0.1", encode(value, wish))
    line = {"trailer": 1, "id": ONE, "state": "done", "digest": digest, **trailer}
    with path.open("ab") as file:
        file.write(b"\n" + json.dumps(line).encode() + b"\n")
    return path


def a_taker(local: Local, *args: Any, takes: tuple[str, ...] = (ONE,)) -> Launch:
    """A call in whose arguments the text "ONE" stands for the task ONE."""
    body = call.dump_call(
        same, args, stand_in=lambda each: ("task", ONE) if each == "ONE" else None
    )
    return local._work("pickle", body, 1, {"takes": list(takes)})


@pytest.mark.parametrize("value", [None, 7, b"\0" * 100_000, {"a": [1.5, (2, 3)]}])
@pytest.mark.parametrize("wish", ["safe", "pickle"])
def test_a_value_is_put_in_its_place(shared: Local, value: Any, wish: str) -> None:
    keep(shared, value, wish=wish)
    work = a_taker(shared, "ONE", ["ONE", 2])
    assert shared.run(work).cause is Cause.FINISHED
    assert shared.value(work) == (value, [value, 2])


def refused(local: Local, work: Launch) -> str:
    end = local.run(work)
    assert isinstance(end, Reported)
    assert (end.outcome, end.cause) == (Outcome.ERROR, Cause.GONE)
    return end.message


def test_a_value_that_is_not_there_is_said(shared: Local) -> None:
    keep(shared, 1).unlink()
    assert ONE in refused(shared, a_taker(shared, "ONE"))


@pytest.mark.parametrize("at", [3, 60, -30, -200])
def test_a_flipped_bit_is_found(shared: Local, at: int) -> None:
    path = keep(shared, b"x" * 400)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert "is damaged" in refused(shared, a_taker(shared, "ONE"))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_off_file_is_found(shared: Local, part: float) -> None:
    path = keep(shared, b"x" * 400)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "is damaged" in refused(shared, a_taker(shared, "ONE"))


def test_another_tasks_value_is_not_taken(shared: Local) -> None:
    keep(shared, 1, id="0193a0000000" + "2" * 20)
    assert "is damaged" in refused(shared, a_taker(shared, "ONE"))


def test_no_pickle_of_an_untrusted_host_is_unpickled(shared: Local) -> None:
    keep(shared, {1}, wish="pickle", trusted=False)
    assert "not trusted" in refused(shared, a_taker(shared, "ONE"))
    keep(shared, {1}, wish="safe", trusted=False)
    work = a_taker(shared, "ONE")
    assert shared.run(work).cause is Cause.FINISHED
    assert shared.value(work) == ({1},)


def test_only_what_the_header_names_is_read(shared: Local) -> None:
    keep(shared, 1)
    assert "does not name" in refused(shared, a_taker(shared, "ONE", takes=()))
