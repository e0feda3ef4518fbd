"""When a failed attempt is followed by another, and when."""

from __future__ import annotations

import pytest

from spoolmw.model.attempt import Cause
from spoolmw.model.spec import Retry
from spoolmw.rules.retry import (
    MEMORY_AT_MOST,
    backoff_s,
    is_named,
    is_worth_another,
    memory_after,
)
from tests.unit.rules.builders import a_running_task


@pytest.mark.parametrize("cause", [Cause.SIGNAL, Cause.TIMEOUT, Cause.MEMORY])
def test_by_default_what_may_be_an_accident_is_tried_again(cause: Cause) -> None:
    assert is_named(Retry(), cause, None)


@pytest.mark.parametrize("cause", [Cause.EXCEPTION, Cause.EXIT])
def test_by_default_a_clean_failure_is_not(cause: Cause) -> None:
    assert not is_named(Retry(), cause, 1)


@pytest.mark.parametrize(
    "cause", [Cause.OUTPUT, Cause.MISSING_OUTPUT, Cause.CODEC, Cause.INTERPRETER]
)
def test_what_a_repetition_cannot_mend_is_never_tried_again(cause: Cause) -> None:
    everything = Retry(on=("exit", "exception", "signal", "timeout", "memory", cause.value))
    assert not is_named(everything, cause, 1)


def test_one_exit_code_can_be_named() -> None:
    retry = Retry(on=("exit:75",))
    assert is_named(retry, Cause.EXIT, 75)
    assert not is_named(retry, Cause.EXIT, 1)


def test_all_exit_codes_can_be_named() -> None:
    assert is_named(Retry(on=("exit",)), Cause.EXIT, 3)


def test_max_counts_the_further_attempts() -> None:
    retry = Retry(max=1, on=("exit",))
    assert is_worth_another(a_running_task(retry=retry), Cause.EXIT, 1)
    assert not is_worth_another(a_running_task(retry=retry, failures=1), Cause.EXIT, 1)


def test_a_backoff_doubles_up_to_an_hour() -> None:
    pauses = [backoff_s(10, n, 0.0) for n in (1, 2, 3, 9, 10, 10_000)]
    assert pauses == [10, 20, 40, 2560, 3600, 3600]


def test_jitter_takes_away_up_to_half_of_it() -> None:
    assert backoff_s(10, 1, 0.5) == 7.5
    assert 5.0 < backoff_s(10, 1, 0.999) < 5.01


def test_no_backoff_stays_none() -> None:
    assert backoff_s(0.0, 5, 0.0) == 0.0


def test_memory_grows_no_further_than_the_journal_can_hold() -> None:
    retry, memory_bytes = Retry(memory_factor=100.0), 1
    for _ in range(300):
        memory_bytes = memory_after(memory_bytes, retry, Cause.MEMORY) or 1
    assert memory_bytes == MEMORY_AT_MOST
