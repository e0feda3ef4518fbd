"""What events say of jobs, and what follows from a look at queue, history and folders."""

from __future__ import annotations

import pytest

from spoolmw.agents.condorlink.eventnews import News, news_of, place
from spoolmw.agents.condorlink.reconcile import (
    Expected,
    Seen,
    Status,
    Step,
    Verb,
    missing,
    reconcile,
)

JOB = (7, 2)
A, B, T = "a.0.1", "b.0.1", "f" * 32


def seen(
    attempt: str = A, status: Status = Status.RUNNING, proc: int = 0, **more: object
) -> Seen:
    return Seen((7, proc), attempt, T, status)._replace(**more)


def steps(expected: dict[str, Expected], queue: list[Seen], history: list[Seen]) -> set[Step]:
    return set(reconcile(expected, queue, history))


WAITED_FOR = {A: Expected(T, JOB)}


@pytest.mark.parametrize(
    ("number", "told", "news"),
    [
        (
            1,
            {"SlotName": "slot1_2@h1.test"},
            News(JOB, "started", host="h1.test", slot="slot1_2"),
        ),
        (5, {"TerminatedNormally": True, "ReturnValue": 3}, News(JOB, "ended", code=3)),
        (5, {"TerminatedNormally": False}, News(JOB, "ended", code=-1)),
        (9, {"Reason": "by ann"}, News(JOB, "removed", text="by ann")),
        (
            12,
            {"HoldReason": "no", "HoldReasonCode": 26, "HoldReasonSubCode": 1},
            News(JOB, "held", code=26, subcode=1, text="no"),
        ),
        (4, {}, News(JOB, "idle")),
        (13, {}, News(JOB, "idle")),
        (6, {"ResidentSetSize": 2}, News(JOB, "used", memory_bytes=2048)),
        (0, {}, None),
        (40, {"Type": 6}, News(JOB, "saved")),
        (40, {"Type": 3}, None),
        (40, {}, None),
        (22, {}, None),
    ],
)
def test_events_become_facts(number: int, told: dict[str, object], news: News | None) -> None:
    assert news_of(number, JOB, told) == news


@pytest.mark.parametrize(
    ("slot", "address", "where"),
    [
        ("slot1_1@host1.test", "", ("host1.test", "slot1_1")),
        ("slot1@glidein_7@host1.test", "", ("host1.test", "slot1@glidein_7")),
        ("", "<10.0.0.7:9618?addrs=10.0.0.7-9618&alias=host1.test>", ("host1.test", "")),
        ("", "<10.0.0.7:9618>", ("10.0.0.7:9618", "")),
    ],
)
def test_a_slots_name_tells_its_host(slot: str, address: str, where: tuple[str, str]) -> None:
    assert place(slot, address) == where


def test_a_job_in_the_queue_is_adopted_and_not_submitted_again() -> None:
    for wanted in (Expected(T), Expected(T, JOB)):
        job = seen(status=Status.IDLE)
        assert steps({A: wanted}, [job], []) == {Step(Verb.ADOPT, A, job)}


def test_what_was_never_submitted_is_submitted() -> None:
    assert steps({A: Expected(T)}, [], []) == {Step(Verb.SUBMIT, A)}


def test_what_was_submitted_and_is_nowhere_is_lost() -> None:
    assert steps(WAITED_FOR, [], []) == {Step(Verb.LOST, A)}


def test_a_report_counts_whatever_the_queue_says() -> None:
    wanted = {A: Expected(T, None, has_report=True)}
    assert steps(wanted, [], []) == {Step(Verb.COLLECT, A)}


def test_what_ended_while_nobody_looked_is_collected() -> None:
    done = seen(status=Status.COMPLETED)
    assert steps({A: Expected(T)}, [], [done]) == {Step(Verb.COLLECT, A, done)}
    assert steps({A: Expected(T)}, [done], []) == {Step(Verb.COLLECT, A, done)}


def test_what_was_removed_while_nobody_looked_is_told_so() -> None:
    gone = seen(status=Status.REMOVED, text="via condor_rm")
    assert steps({A: Expected(T)}, [], [gone]) == {Step(Verb.REMOVED, A, gone)}


def test_a_held_job_is_told_of() -> None:
    held = seen(status=Status.HELD, hold_code=26)
    assert steps(WAITED_FOR, [held], []) == {Step(Verb.HELD, A, held)}


def test_a_job_whose_files_never_came_to_the_schedd_is_submitted_anew() -> None:
    half = seen(status=Status.HELD, hold_code=16, spooled=False)
    assert steps({A: Expected(T)}, [half], []) == {
        Step(Verb.REMOVE, A, half),
        Step(Verb.SUBMIT, A),
    }


def test_a_job_that_has_its_files_may_wait_a_moment_for_its_schedd() -> None:
    waits = seen(status=Status.HELD, proc=2, hold_code=16, spooled=False)
    assert steps(WAITED_FOR, [waits], []) == {Step(Verb.HELD, A, waits)}


def test_nobodys_jobs_are_removed() -> None:
    stranger = seen(B, proc=4)
    assert steps({}, [stranger], []) == {Step(Verb.REMOVE, B, stranger)}
    forged = seen()._replace(token="0" * 32)
    assert steps({A: Expected(T)}, [forged], []) == {
        Step(Verb.REMOVE, A, forged),
        Step(Verb.SUBMIT, A),
    }


def test_of_two_jobs_of_one_attempt_the_later_is_removed() -> None:
    first, second = seen(proc=0), seen(proc=1)
    assert steps(WAITED_FOR, [second, first], []) == {
        Step(Verb.ADOPT, A, first),
        Step(Verb.REMOVE, A, second),
    }


def test_a_job_that_is_being_removed_is_waited_for_until_it_has_left_its_host() -> None:
    going = seen(status=Status.REMOVED, is_on_host=True)
    assert steps(WAITED_FOR, [going], []) == {Step(Verb.WAIT, A, going)}
    assert steps({}, [going], []) == set()


def test_a_removed_job_that_is_kept_for_what_it_saved_is_told_of_and_forgotten() -> None:
    gone = seen(status=Status.REMOVED, text="via condor_rm")
    assert steps({A: Expected(T)}, [gone], []) == {Step(Verb.REMOVED, A, gone)}
    assert steps({}, [gone], []) == {Step(Verb.FORGET, A, gone)}


def test_a_report_counts_also_when_its_job_was_removed() -> None:
    gone = seen(status=Status.REMOVED)
    wanted = {A: Expected(T, JOB, has_report=True)}
    assert steps(wanted, [gone], []) == {Step(Verb.COLLECT, A, gone)}


def test_a_job_that_lives_counts_before_one_that_was_removed() -> None:
    gone, lives = seen(status=Status.REMOVED, proc=0), seen(proc=1)
    assert steps(WAITED_FOR, [gone, lives], []) == {
        Step(Verb.ADOPT, A, lives),
        Step(Verb.FORGET, A, gone),
    }


def test_the_newest_job_of_the_history_counts() -> None:
    old = seen(status=Status.REMOVED, proc=0)
    new = seen(status=Status.COMPLETED, proc=1)
    assert steps(WAITED_FOR, [], [new, old]) == {Step(Verb.COLLECT, A, new)}


def test_the_history_is_asked_only_for_what_is_nowhere_else() -> None:
    expected = {A: Expected(T), B: Expected(T, has_report=True), "c.0.1": Expected(T)}
    assert missing(expected, [seen(A)]) == ["c.0.1"]
