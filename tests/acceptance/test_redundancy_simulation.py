"""The simulation of redundant execution runs as its page says, and its theory agrees with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.redundancy import KINDS, POLICIES, measured
from benchmarks.redundancy_theory import Lottery
from tests.layers.source import ROOT


def test_anybody_can_run_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.redundancy", "--tasks", "40"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for policy in POLICIES:
        assert f"| {policy} |" in done.stdout


def test_theory_and_simulation_agree_on_the_work_and_on_what_gets_through() -> None:
    for row in measured(tasks=400, seed=3):
        found = row.plain.figures()
        assert found.executions == pytest.approx(row.theory.executions, rel=0.06), row.name
        spread = 4 * (row.theory.wrong * (1 - row.theory.wrong) / 400) ** 0.5
        assert abs(found.wrong - row.theory.wrong) <= spread + 0.005, row.name


def test_without_redundancy_as_much_is_wrong_as_the_hosts_return() -> None:
    active = sum(kind.asks * kind.count for kind in KINDS if not kind.silent)
    wrong = sum(
        kind.count * (1.0 if kind.conspires else kind.alone_wrong)
        for kind in KINDS
        if not kind.silent
    )
    assert Lottery(KINDS, POLICIES["quorum 1"]).figures().wrong == pytest.approx(wrong / active)
