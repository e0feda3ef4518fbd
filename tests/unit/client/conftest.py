"""A spool on which the answering machine stands by, and a helper for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.client import Spool
from tests.support.answering import AnsweringMachine, asking


@pytest.fixture
def machine(tmp_path: Path) -> AnsweringMachine:
    """Answers when a test says so."""
    return AnsweringMachine(tmp_path / "spool")


@pytest.fixture
def answered(machine: AnsweringMachine) -> Iterator[AnsweringMachine]:
    """Answers by itself."""
    with machine:
        yield machine


@pytest.fixture
def spool(machine: AnsweringMachine) -> Iterator[Spool]:
    """A helper; what a test leaves unanswered is not waited for beyond it."""
    with asking(machine) as made:
        yield made
