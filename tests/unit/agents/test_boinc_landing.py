"""What a stranger uploads is believed in nothing, whatever it is."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from spoolmw.agents.boinclink.landing import Lander
from spoolmw.agents.carrier.book import Given
from spoolmw.runner import safe
from tests.support import fakework
from tests.support.fakework import Errand

A, TOKEN = "a" * 32 + ".0.1", "f" * 32
GIVEN = Given(A, TOKEN, "active/t", {})
ERRAND = Errand(A, TOKEN, "t", {})
MOST = 1 << 20


@pytest.fixture
def lander(tmp_path: Path) -> Lander:
    (tmp_path / "stage").mkdir()
    return Lander(tmp_path, tmp_path / "landing", is_trusted=False)


def upload(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(data)
    return path


def good() -> bytes:
    return fakework.parcel(ERRAND, fakework.success(ERRAND, [1, "two"]), host="pc")


def test_a_good_one_lands(lander: Lander, tmp_path: Path) -> None:
    landed = lander.land(GIVEN, upload(tmp_path, good()), MOST)
    assert landed.entry is not None
    assert (landed.entry["outcome"], landed.is_hosts) == ("success", False)
    assert safe.dumps([1, "two"]) in (tmp_path / "stage" / A).read_bytes()
    assert not os.listdir(tmp_path / "landing")
    lander.discard(A)
    assert not os.listdir(tmp_path / "stage")


def test_it_may_land_again(lander: Lander, tmp_path: Path) -> None:
    path = upload(tmp_path, good())
    assert lander.land(GIVEN, path, MOST) == lander.land(GIVEN, path, MOST)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin"),
        (b"{}\n", "odd"),
        (good()[:-1], "length"),
        (good() + b"x", "length"),
        (good().replace(TOKEN.encode(), b"e" * 32), "token"),
        (fakework.packed({"report.json": b"{}", "../../x": b"evil"}), "no name"),
        (fakework.packed({"report.json": b"[" * 100_000}), "result of it"),
        (fakework.packed({"log": b""}), "neither a report nor a reason"),
        (b"\xff" * 5000, "does not begin"),
    ],
)
def test_garbage_is_lost_and_its_host_to_blame(
    lander: Lander, tmp_path: Path, data: bytes, words: str
) -> None:
    landed = lander.land(GIVEN, upload(tmp_path, data), MOST)
    assert landed.lost is not None
    assert words in landed.lost["message"]
    assert (landed.lost["counts"], landed.is_hosts) == (True, True)
    assert not os.listdir(tmp_path / "stage")
    assert not os.listdir(tmp_path / "landing")


def test_what_is_larger_than_it_may_be_is_not_unpacked(lander: Lander, tmp_path: Path) -> None:
    landed = lander.land(GIVEN, upload(tmp_path, good()), 10)
    assert landed.lost is not None
    assert "at most 10" in landed.lost["message"]


def test_a_pickle_of_a_stranger_is_refused_and_one_of_a_friend_is_not(
    lander: Lander, tmp_path: Path
) -> None:
    ended = fakework.success(ERRAND, b"\x80\x04.", codec="pickle")
    path = upload(tmp_path, fakework.parcel(ERRAND, ended, host="pc"))
    assert lander.land(GIVEN, path, MOST).lost is not None
    friend = Lander(tmp_path, tmp_path / "landing", is_trusted=True)
    assert friend.land(GIVEN, path, MOST).entry is not None


def test_a_refusal_counts_for_nothing(lander: Lander, tmp_path: Path) -> None:
    lacking = lander.land(GIVEN, upload(tmp_path, fakework.trouble(81, "no Python")), MOST)
    assert lacking.lost == {"cause": "interpreter", "message": "no Python", "counts": False}
    assert (lacking.lacks_python, lacking.is_hosts) == (True, False)
    broken = lander.land(GIVEN, upload(tmp_path, fakework.trouble(83, "disk full")), MOST)
    assert (broken.lacks_python, broken.is_hosts) == (False, True)


def test_whatever_comes_nothing_else_happens(lander: Lander, tmp_path: Path) -> None:
    dice = random.Random(7)
    whole = good()
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 8))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        landed = lander.land(GIVEN, upload(tmp_path, bytes(data)), MOST)
        assert (landed.entry is None) != (landed.lost is None)
        assert not os.listdir(tmp_path / "landing")
    assert set(os.listdir(tmp_path)) <= {"stage", "landing", "upload"}
