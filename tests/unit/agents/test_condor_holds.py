"""No hold keeps a task: each has a cause, somebody to blame, and what to do."""

from __future__ import annotations

import pytest

from spoolmw.agents.condorlink import holds
from spoolmw.model.attempt import Blame, Cause

#: HoldReasonCode in HTCondor's manual.
KNOWN = (1, *range(3, 16), *range(17, 28), 32, 33, 34, 35, 36, *range(37, 49))


@pytest.mark.parametrize("code", [*KNOWN, 0, 2, 16, 99, 1000])
def test_every_hold_has_a_cause_and_somebody_to_blame(code: int) -> None:
    held = holds.meaning(code, 7, "HTCondor's own words")
    assert Cause(held.cause)
    assert Blame(held.blame) in (Blame.AGENT, Blame.HOST, Blame.TASK)
    assert f"({code}/7): HTCondor's own words" in held.message
    assert "\n" not in held.message


@pytest.mark.parametrize("code", [1, 3, 5, 15, 21, 26, 27, 48])
def test_a_hold_by_hand_or_policy_costs_the_task_nothing(code: int) -> None:
    held = holds.meaning(code, 0, "")
    assert (held.cause, held.blame) == ("held", "agent")
    assert not held.is_the_tasks


def test_memory_that_was_not_asked_for_is_the_tasks_matter() -> None:
    for subcode, words in ((102, "over"), (0, "Error: memory usage exceeded request_memory")):
        held = holds.meaning(34, subcode, words)
        assert (held.cause, held.blame) == ("memory", "task")
        assert "[resources] memory" in held.message


@pytest.mark.parametrize("code", [3, 21, 26])
def test_a_policy_against_too_much_memory_is_known_by_its_words(code: int) -> None:
    """`use policy : hold_if_memory_exceeded`, or what an administrator wrote instead of it."""
    for subcode, words in (
        (102, "Error from slot1_1@host1.test: memory usage exceeded request_memory"),
        (7, "Your job exceeded its memory"),
    ):
        held = holds.meaning(code, subcode, words)
        assert (held.cause, held.blame) == ("memory", "task")
    for subcode, words in ((102, "not here"), (7, "no memory is left in the group's quota")):
        assert holds.meaning(code, subcode, words).blame == "agent"


def test_more_cores_than_were_asked_for_are_the_tasks_matter() -> None:
    held = holds.meaning(21, 101, "CPU usage exceeded request_cpus")
    assert (held.cause, held.blame) == ("held", "task")
    assert "[resources] cpus" in held.message


def test_disk_that_was_not_asked_for_is_the_agents() -> None:
    held = holds.meaning(34, 104, "disk usage exceeded request_disk")
    assert (held.cause, held.blame) == ("output", "agent")
    assert "request_disk" in held.message


def test_too_long_is_the_tasks_matter_only_when_it_has_a_limit() -> None:
    assert holds.meaning(47, 0, "", time_s=10).is_the_tasks
    assert holds.meaning(47, 0, "").blame == "agent"


def test_what_goes_by_itself_is_no_hold() -> None:
    assert holds.is_held_for_nothing(16)
    assert not holds.is_held_for_nothing(1)


def test_long_reasons_are_cut() -> None:
    assert len(holds.meaning(12, 0, "x" * 5000).message) < 700
