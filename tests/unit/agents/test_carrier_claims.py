"""What a host may say, and what is garbage."""

from __future__ import annotations

from typing import Any

import pytest

from spoolmw.agents.carrier import claims
from spoolmw.agents.carrier.claims import Garbage

TASK = "0" * 32
GOOD: dict[str, Any] = {
    "attempt": f"{TASK}.0.1",
    "token": "a" * 32,
    "started": 1.5,
    "ended": 2,
    "cpu_s": 0.1,
    "memory_bytes": 7,
    "outcome": "success",
    "cause": "finished",
    "body_bytes": 3,
    "digest": "b" * 64,
}


def entry(**changes: Any) -> dict[str, Any]:
    told = {key: each for key, each in {**GOOD, **changes}.items() if each is not ...}
    [found] = claims.entries("ended", {"attempts": [told]})
    return found


def test_a_good_report_passes_and_what_is_unknown_is_left_out() -> None:
    assert entry(surprise="x") == GOOD


def test_a_long_message_is_cut() -> None:
    assert len(entry(message="x" * 100_000)["message"]) == 2000


def test_a_resumption_without_words_has_empty_ones() -> None:
    [found] = claims.entries("resumed", {"attempts": [{"attempt": GOOD["attempt"]}]})
    assert found["message"] == ""


def test_a_loss_has_no_result_whatever_it_says() -> None:
    found = entry(outcome="lost", cause="connection", blame="host", body_bytes=5, files=True)
    assert (found["body_bytes"], found["files"]) == (0, False)


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": "../../etc/passwd"},
        {"attempt": f"{TASK}.0.1\n"},
        {"attempt": ["x"]},
        {"attempt": ...},
        {"token": "short"},
        {"started": "now"},
        {"started": float("nan")},
        {"ended": -1},
        {"ended": 1e300},
        {"ended": True},
        {"memory_bytes": 1.5},
        {"memory_bytes": 1 << 70},
        {"outcome": "victory"},
        {"cause": "because"},
        {"blame": "you"},
        {"message": 5},
        {"exit_code": "1"},
        {"body_bytes": -1},
        {"body_bytes": 1 << 60},
        {"body_bytes": ...},
        {"digest": "B" * 64},
        {"digest": ...},
        {"cpu_s": ...},
    ],
    ids=str,
)
def test_a_report_with_anything_odd_is_garbage(change: dict[str, Any]) -> None:
    with pytest.raises(Garbage):
        entry(**change)


@pytest.mark.parametrize(
    "told", [{}, {"attempts": {}}, {"attempts": ["x"]}, {"attempts": [[]]}]
)
def test_reports_that_are_no_list_of_reports_are_garbage(told: dict[str, Any]) -> None:
    with pytest.raises(Garbage):
        claims.entries("ended", told)


@pytest.mark.parametrize(
    "name",
    ["a", "a/b/c.txt", "ümlaut", "a b", ".hidden", "\udcff raw", "-dash", "a\nb"],
)
def test_a_files_name_that_stays_in_its_folder_is_taken(name: str) -> None:
    assert claims.file_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "./a",
        "a//b",
        "a/",
        "a\0b",
        "x" * 256,
        "a/" * 70 + "a",
        5,
    ],
    ids=repr,
)
def test_a_files_name_that_leads_elsewhere_is_garbage(name: object) -> None:
    with pytest.raises(Garbage):
        claims.file_name(name)


def test_files_must_have_the_bytes_that_were_announced_and_each_one_name() -> None:
    assert claims.files({"files": [["a", 1], ["b", 2]], "bytes": 3}, width=2)
    for files, total in (([["a", 1], ["a", 2]], 3), ([["a", 1]], 2), ([["a"]], 0), (["a"], 0)):
        with pytest.raises(Garbage):
            claims.files({"files": files, "bytes": total}, width=2)
