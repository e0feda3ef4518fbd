"""`map`: many calls, ordered values, chunks, and the line that tells how far it is."""

from __future__ import annotations

import io
import time

import pytest

from spoolmw.client import Spool
from spoolmw.client.future import Progress
from spoolmw.client.progress import ProgressLine
from spoolmw.errors import BadTaskFile, SpoolmwError
from tests.support.answering import AnsweringMachine
from tests.support.waiting import wait_until


def square(n: int) -> int:
    return n * n


def pick(value: object) -> object:
    if value == 3:
        raise ValueError("three")
    return value


def test_values_come_in_the_order_of_the_arguments(
    spool: Spool, answered: AnsweringMachine
) -> None:
    assert list(spool.map(square, range(40))) == [n * n for n in range(40)]
    assert list(spool.map(pow, range(4), range(4))) == [1, 1, 4, 27]


def test_values_come_one_by_one(spool: Spool, machine: AnsweringMachine) -> None:
    mapped = spool.map(square, range(5))
    first = mapped.tasks[0]
    machine.answer_one("", machine.layout.incoming / first.dropped)
    assert next(iter(mapped)) == 0
    assert not mapped.tasks[4].done()


@pytest.mark.parametrize("chunk", [1, 3, 10, 100])
def test_chunks_change_nothing_but_the_number_of_tasks(
    spool: Spool, answered: AnsweringMachine, chunk: int
) -> None:
    mapped = spool.map(square, range(10), chunk=chunk)
    assert mapped.results() == [n * n for n in range(10)]
    assert len(mapped) == -(-10 // chunk)


def test_a_call_that_fails_says_which_of_its_chunk_it_was(
    spool: Spool, answered: AnsweringMachine
) -> None:
    mapped = spool.map(pick, range(10), chunk=2)
    values = iter(mapped)
    assert [next(values) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="three") as raised:
        next(values)
    assert raised.value.__notes__ == ["in call 2 of 2 of this chunk: (3,)"]


def test_as_completed_takes_a_map(spool: Spool, answered: AnsweringMachine) -> None:
    mapped = spool.map(square, range(10))
    assert sorted(task.result() for task in spool.as_completed(mapped, 10)) == [
        n * n for n in range(10)
    ]


def test_a_timeout_counts_from_the_call_of_map(spool: Spool) -> None:
    with pytest.raises(TimeoutError):
        list(spool.map(square, range(2), timeout=0.05))


def test_an_argument_that_cannot_travel_takes_the_others_back(
    spool: Spool, machine: AnsweringMachine
) -> None:
    with pytest.raises(SpoolmwError, match="argument 1 of square"):
        spool.map(square, [1, 2, (n for n in "generator")])
    assert machine.waiting() == []


def test_a_key_names_one_task_and_not_many(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="a key names one"):
        spool.options(key="a").map(square, range(3))


def test_a_map_of_nothing_is_empty(spool: Spool) -> None:
    assert list(spool.map(square, [], progress=True)) == []


def test_a_map_can_be_cancelled_as_a_whole(spool: Spool, machine: AnsweringMachine) -> None:
    mapped = spool.map(square, range(10))
    mapped.cancel()
    assert machine.waiting() == []
    assert all(task.cancelled() for task in mapped.tasks)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_tells_how_far_it_is_and_ends_full(
    spool: Spool, answered: AnsweringMachine
) -> None:
    screen = Terminal()
    tasks = spool.map(pick, range(8)).tasks
    ProgressLine(tasks, screen).show()
    wait_until(lambda: screen.getvalue().endswith("\n"))
    assert "8/8 100 %, 1 failed" in screen.getvalue().rpartition("\r")[2]


def test_the_line_counts_what_the_running_tasks_have_done_of_themselves(
    spool: Spool, machine: AnsweringMachine
) -> None:
    screen = Terminal()
    tasks = spool.map(square, range(4)).tasks
    far = {tasks[0].id: Progress(0.5, "epoch 4", 0.0), tasks[1].id: Progress(0.25, "", 0.0)}
    line = ProgressLine(tasks, screen, ask=lambda _: far)
    line.ask()
    assert "0/4 19 %" in line.line(time.monotonic())
    line.show()
    machine.answer()
    wait_until(lambda: screen.getvalue().endswith("\n"))
    assert "4/4 100 %" in screen.getvalue().rpartition("\r")[2]


def test_without_a_daemon_a_task_says_nothing_of_its_progress(
    spool: Spool, machine: AnsweringMachine
) -> None:
    assert spool.submit(square, 2).progress() is None


def test_away_from_a_terminal_lines_are_few(spool: Spool, answered: AnsweringMachine) -> None:
    paper = io.StringIO()
    ProgressLine(spool.map(square, range(50)).tasks, paper).show()
    wait_until(lambda: "50/50" in paper.getvalue())
    assert "\r" not in paper.getvalue()
    assert len(paper.getvalue().splitlines()) == 2


def test_a_screen_that_is_gone_stops_nothing(spool: Spool, answered: AnsweringMachine) -> None:
    gone = io.StringIO()
    mapped = spool.map(square, range(3))
    progress = ProgressLine(mapped.tasks, gone)
    gone.close()
    progress.show()
    assert mapped.results() == [0, 1, 4]
