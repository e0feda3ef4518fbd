"""How far the work of a BOINC project is, as its page tells it."""

from __future__ import annotations

from spoolmw.agents.boinclink.course import Course, Progress


def test_nothing_is_told_before_anything_came() -> None:
    assert Course().progress() is None


def test_a_task_is_through_when_none_of_its_attempts_is_at_hand() -> None:
    course = Course()
    course.begins("aa.1.1")
    course.begins("bb.1.1")
    course.begins("aa.2.1")
    course.ends("aa.1.1")
    assert course.progress() == Progress(done=0, all=2)
    course.ends("aa.2.1")
    assert course.progress() == Progress(done=1, all=2)


def test_a_task_that_comes_again_is_no_second_one() -> None:
    course = Course()
    course.begins("aa.1.1")
    course.begins("bb.1.1")
    course.ends("aa.1.1")
    course.begins("aa.1.2")
    assert course.progress() == Progress(done=0, all=2)


def test_what_was_done_stays_until_other_work_comes() -> None:
    course = Course()
    course.begins("aa.1.1")
    course.ends("aa.1.1")
    assert course.progress() == Progress(done=1, all=1)
    course.begins("bb.1.1")
    assert course.progress() == Progress(done=0, all=1)
