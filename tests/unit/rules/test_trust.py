"""What a host's past is worth."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from spoolmw.model.host import HostRecord, Mark
from spoolmw.rules.trust import (
    BUDGET,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    WINDOW,
    alone_probability,
    is_probe,
    marked,
    may_work,
    paused_by_hand,
    released,
    runs_alone,
)

NOW = 1_770_000_000.0
FAULTS = [Mark.INVALID, Mark.ERROR, Mark.SILENT]


def a_host(**changes: object) -> HostRecord:
    return replace(HostRecord(machine="m1", name="pc01"), **changes)  # type: ignore[arg-type]


def after(record: HostRecord, *marks: Mark, now: float = NOW) -> HostRecord:
    for mark in marks:
        record = marked(record, mark, now)
    return record


def a_paused_host(now: float = NOW) -> HostRecord:
    record = after(a_host(), *[Mark.INVALID] * (BUDGET + 1), now=now)
    assert record.paused
    return record


def test_nobody_is_trusted_before_ten_valid_results_in_a_row() -> None:
    assert alone_probability(after(a_host(), *[Mark.VALID] * 9), audit=0.0) == 0.0
    assert not runs_alone(after(a_host(), *[Mark.VALID] * 9), 0.0, luck=0.0)


def test_from_then_on_the_probability_is_one_minus_one_in_n() -> None:
    for n in (10, 11, 100):
        record = a_host(consecutive_valid=n)
        assert alone_probability(record, audit=0.0) == pytest.approx(1 - 1 / n)
        assert runs_alone(record, 0.0, luck=1 - 1 / n - 1e-9)
        assert not runs_alone(record, 0.0, luck=1 - 1 / n + 1e-9)


def test_an_audit_takes_its_share_of_what_would_run_alone() -> None:
    assert alone_probability(a_host(consecutive_valid=100), audit=0.02) == pytest.approx(
        0.99 * 0.98
    )
    assert not runs_alone(a_host(consecutive_valid=100), 1.0, luck=0.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_takes_all_trust_away(fault: Mark) -> None:
    record = after(a_host(consecutive_valid=500, valid=500), fault)
    assert record.consecutive_valid == 0
    assert record.valid == 500


def test_what_nobody_compared_earns_nothing() -> None:
    record = after(a_host(consecutive_valid=12), *[Mark.ALONE] * 50)
    assert (record.consecutive_valid, record.valid, record.alone) == (12, 0, 50)


def test_a_silent_host_was_not_seen() -> None:
    assert after(a_host(last_seen=1.0), Mark.SILENT).last_seen == 1.0
    assert after(a_host(last_seen=1.0), Mark.ERROR).last_seen == NOW


def test_a_host_over_its_budget_is_paused_and_the_reason_says_why() -> None:
    record = after(a_host(), *[Mark.VALID] * 4, *[Mark.INVALID] * BUDGET)
    assert not record.paused
    record = marked(record, Mark.ERROR, NOW)
    assert record.paused == "6 of its last 10 results were faults, the last one an error"
    assert not may_work(record, NOW)


def test_faults_of_long_ago_are_forgotten() -> None:
    record = after(a_host(), *[Mark.INVALID] * BUDGET, *[Mark.VALID] * WINDOW, Mark.INVALID)
    assert not record.paused


def test_a_paused_host_may_show_after_a_while_what_it_can_do() -> None:
    record = a_paused_host()
    assert not may_work(record, NOW + FIRST_PAUSE_S - 1)
    assert may_work(record, NOW + FIRST_PAUSE_S)
    assert is_probe(record)
    assert alone_probability(replace(record, consecutive_valid=99), audit=0.0) == 0.0


def test_a_probe_that_succeeds_releases_it() -> None:
    record = marked(a_paused_host(), Mark.VALID, NOW + FIRST_PAUSE_S)
    assert not record.paused
    assert after(record, *[Mark.INVALID] * BUDGET).paused == ""


def test_what_was_under_way_before_the_pause_is_no_probe() -> None:
    record = a_paused_host()
    assert marked(record, Mark.VALID, NOW + 1).paused == record.paused
    assert marked(record, Mark.INVALID, NOW + 1).probe_at == record.probe_at


def test_each_pause_in_a_row_is_twice_as_long_up_to_a_day() -> None:
    record, now = a_paused_host(), NOW
    pauses = [record.probe_at - now]
    for _ in range(6):
        now = record.probe_at
        record = marked(record, Mark.INVALID, now)
        pauses.append(record.probe_at - now)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_ten_valid_results_make_the_next_pause_a_first_one_again() -> None:
    record = marked(a_paused_host(), Mark.VALID, NOW + FIRST_PAUSE_S)
    assert record.pauses == 1
    assert after(record, *[Mark.VALID] * 9).pauses == 0


def test_who_was_paused_by_hand_is_released_only_by_hand() -> None:
    record = paused_by_hand(a_host(), "fan is broken")
    assert not may_work(record, NOW + 10 * LONGEST_PAUSE_S)
    assert marked(record, Mark.VALID, NOW + 10 * LONGEST_PAUSE_S).paused == "fan is broken"
    assert released(record).paused == ""


def test_a_release_forgets_the_faults_but_not_the_counts() -> None:
    record = released(a_paused_host())
    assert (record.paused, record.recent, record.pauses) == ("", 0, 0)
    assert record.invalid == BUDGET + 1
    assert may_work(record, NOW)


def test_every_story_of_six_marks_counts_right() -> None:
    for story in itertools.product(Mark, repeat=6):
        record = after(a_host(), *story)
        counted = [mark for mark in story if mark is not Mark.ALONE]
        assert record.valid == story.count(Mark.VALID)
        assert record.invalid == story.count(Mark.INVALID)
        assert record.errors == story.count(Mark.ERROR) + story.count(Mark.SILENT)
        assert record.alone == story.count(Mark.ALONE)
        streak = 0
        for mark in counted:
            streak = streak + 1 if mark is Mark.VALID else 0
        assert record.consecutive_valid == streak
        faults = sum(mark in FAULTS for mark in counted)
        assert bool(record.paused) == (faults > BUDGET)
