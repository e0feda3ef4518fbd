"""Who of the running jobs is taken for frozen, and who is not."""

from __future__ import annotations

import pytest

from spoolmw.agents.condorlink.reconcile import Seen, Status
from spoolmw.agents.condorlink.silence import Silence

LONGEST_S = 20.0


def seen(sign: int, status: Status = Status.RUNNING, **more: object) -> Seen:
    return Seen((7, 0), "a.0.1", "f" * 32, status, sign=sign, started_at=5.0)._replace(**more)


def told(*ads: tuple[float, Seen]) -> list[bool]:
    """Whether the job counts as silent, at each of these times."""
    silence = Silence(LONGEST_S)
    return [bool(silence.broken([ad], at)) for at, ad in ads]


def test_who_says_the_same_for_too_long_is_silent() -> None:
    assert told((0, seen(3)), (20, seen(3)), (20.1, seen(3))) == [False, False, True]
    assert told((0, seen(0)), (21, seen(0))) == [False, True], "its first word is one too"


def test_each_new_word_counts() -> None:
    assert told((0, seen(3)), (15, seen(18)), (30, seen(18)), (36, seen(18))) == [
        *(False, False, False),
        True,
    ]


def test_a_job_that_was_started_anew_says_its_first_word_again() -> None:
    assert not any(
        told((0, seen(3)), (15, seen(3, started_at=9.0)), (30, seen(3, started_at=9.0)))
    )


@pytest.mark.parametrize(
    "ad",
    [
        seen(-1),
        seen(3, is_moving=True),
        *(seen(3, status) for status in Status if status is not Status.RUNNING),
    ],
)
def test_who_has_nothing_to_say_is_not_silent(ad: Seen) -> None:
    assert told((0, seen(3)), (100, ad)) == [False, False]
    assert told((0, ad), (100, ad), (101, seen(3))) == [False, False, False]


def test_who_was_not_watched_begins_anew() -> None:
    silence = Silence(LONGEST_S)
    silence.broken([seen(3)], 0)
    silence.broken([], 10)
    assert silence.broken([seen(3)], 25) == []
