"""docs/states.md tells what the table of transitions says."""

from __future__ import annotations

from docs import generate
from spoolmw.rules import redundant, replica
from spoolmw.rules.task import TRANSITIONS


def test_the_page_is_not_stale() -> None:
    assert generate.main(["--check"]) == 0, "run `make docs`"


def test_every_transition_is_on_the_page() -> None:
    text = generate.page()
    for table in (TRANSITIONS, redundant.TRANSITIONS, replica.TRANSITIONS):
        for (state, kind), rule in table.items():
            targets = " or ".join(target.value for target in rule.to)
            assert f"| {state.value} | {kind.__name__} | {targets} | " in text


def test_every_row_says_what_happens() -> None:
    assert [line for line in generate.page().splitlines() if line.endswith("|  |")] == []
