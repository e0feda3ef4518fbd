"""docs/testing.md accounts for every threat, by tests that exist."""

from __future__ import annotations

import re

from tests.support.daemon import ROOT

PAGE = ROOT / "docs" / "testing.md"
ROW = re.compile(r"^\| (\d+)(?: to (\d+))? \|", re.MULTILINE)


def test_every_threat_to_what_is_built_has_a_row() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    told = {n for first, last in rows for n in range(int(first), int(last or first) + 1)}
    assert told == {*range(1, 36), *range(53, 89)}


def test_every_test_that_is_named_exists() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")
    )
    there = set(re.findall(r"def (test_\w+)", source))
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert named - there == set()
