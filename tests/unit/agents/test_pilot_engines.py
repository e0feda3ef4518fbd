"""Engines in processes of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from spoolmw.agents.pilotlink import apart
from spoolmw.agents.pilotlink.apart import Apart
from spoolmw.agents.pilotlink.engine import ENGINES, EngineTrouble, Job, Post

pytestmark = pytest.mark.usefixtures("imported_from_here")

HERE = "tests.unit.agents.test_pilot_engines"


class Odd:
    """An engine that does what its section says."""

    poll_s = 7.0

    def __init__(self, post: Post) -> None:
        print("a library that prints")
        self._post = post

    def listed(self) -> list[Job]:
        match self._post.options["does"]:
            case "hang":
                signal.pause()
            case "die":
                os._exit(1)
            case "refuse":
                raise EngineTrouble("the schedd is closed")
            case "break":
                raise KeyError("odd")
        return [Job("12.0", 3, "d" * 32, "waits", "no machine")]


def engine(tmp_path: Path, does: str = "", factory: str = f"{HERE}:Odd") -> Apart:
    post = Post(tmp_path, "pool", tmp_path, tmp_path / "runner.pyz", options={"does": does})
    return Apart(factory, post)


@pytest.fixture
def imported_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))


def test_calls_and_answers_go_through(tmp_path: Path) -> None:
    far = engine(tmp_path)
    assert far.poll_s == 7.0
    assert far.listed() == [Job("12.0", 3, "d" * 32, "waits", "no machine")]
    far._end()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("hang", "no answer in 3 s"),
        ("die", "it ended"),
        ("refuse", "the schedd is closed"),
        ("break", "KeyError: 'odd'"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_call_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    far = engine(tmp_path, does)
    if does == "hang":
        monkeypatch.setattr(apart, "PATIENCE_S", 3.0)
    for _ in range(2):
        with pytest.raises(EngineTrouble, match=said):
            far.listed()
    far._end()


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineTrouble, match="no_such_module"):
        engine(tmp_path, factory="no_such_module:Engine")


def test_the_engine_of_processes_lists_nothing_where_nothing_is(tmp_path: Path) -> None:
    far = engine(tmp_path, factory=ENGINES["process"])
    assert far.listed() == []
    far.remove([Job("4194305", 1, "d" * 32, "runs")])
    assert far.last_words("d" * 32) == ""
    far._end()
