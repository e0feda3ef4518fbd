"""Arrays in the reactor, tick by tick with the fake agent: window, tallies, names, users, crashes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.config import Arrays
from spoolmw.daemon.rebuild import rebuild
from spoolmw.errors import UnknownTask
from spoolmw.format.arrays import element_id
from spoolmw.format.resultfile import read_head, read_trailer
from spoolmw.model.ids import TaskId
from spoolmw.model.task import Task, TaskState
from spoolmw.runner import results
from tests.support.bench import CONFIG, Bench

WINDOW = 16
QUIET_S = 1.0  #: without an end after which nothing more is awaited


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, replace(CONFIG, arrays=Arrays(window=WINDOW)))
    yield made
    made.close()


def script(array: str) -> str:
    return f"#!/bin/sh\n#SPOOLMW {array}\ntrue\n"


def drop(bench: Bench, array: str = "array = 1-40", name: str = "sweep") -> TaskId:
    """Drop an array; its id, once its first elements are made."""
    known = set(bench.parts.table.elements)
    bench.drop(name, script(array))
    bench.until(lambda: bench.parts.table.elements.keys() - known)
    bench.ticks()
    return next(reversed(bench.parts.table.elements))


def array_of(bench: Bench, array: TaskId) -> Task:
    found = bench.parts.table.get(array) or bench.parts.journal.get(array)
    assert found is not None
    return found


def open_indexes(bench: Bench, array: TaskId) -> list[int]:
    tasks = (bench.parts.table.get(each) for each in bench.parts.table.elements.get(array, ()))
    return [task.element.index for task in tasks if task and task.element]


def finish(bench: Bench, *, failing: tuple[int, ...] = (), most: int = 10**6) -> list[int]:
    """Let the attempts that are launched end, and those after them; the indexes that ran."""
    ran: list[int] = []
    done: set[str] = set()
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        bench.ticks(1)
        for launch in list(bench.agent.launched):
            is_live = any(each.attempt == launch.attempt for each in bench.agent.sightings())
            if str(launch.attempt) in done or not is_live or len(ran) >= most:
                continue
            assert launch.element is not None
            done.add(str(launch.attempt))
            until = time.monotonic() + QUIET_S
            ran.append(launch.element.index)
            bad = launch.element.index in failing
            bench.agent.finish(launch.attempt, results.failed("exit", "1") if bad else None)
        if len(ran) >= most or not bench.parts.table.elements:
            break
    bench.ticks(4)
    return ran


def result_names(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.layout.results.iterdir())


def test_an_array_becomes_tasks_a_window_at_a_time(bench: Bench) -> None:
    array = drop(bench)
    assert open_indexes(bench, array) == list(range(1, WINDOW + 1))
    assert len(bench.agent.launched) == 2
    assert len(list(bench.layout.active.glob("*/*~*"))) == 1, "elements have no files"
    ran = finish(bench, most=5)
    assert WINDOW * 3 // 4 <= len(open_indexes(bench, array)) <= WINDOW
    ran += finish(bench)
    assert ran == list(range(1, 41)), "in order, each once"
    assert array_of(bench, array).state is TaskState.DONE
    assert not list(bench.layout.active.glob("*/*~*"))


def test_each_element_has_its_result_and_the_array_one_with_counts(bench: Bench) -> None:
    array = drop(bench, "array = 0-90:30")
    finish(bench, failing=(60,))
    expected = [f"sweep.{index}.result" for index in (0, 30, 60, 90)]
    assert result_names(bench) == [*expected, "sweep.result"]
    head = read_head(bench.layout.results / "sweep.result")
    assert head["elements"] == {
        "total": 4, "done": 3, "failed": 1, "cancelled": 0, "skipped": 0,
    }  # fmt: skip
    assert (head["task"], head["outcome"]) == (array, "error")
    trailer = bench.trailer("sweep.60")
    assert (trailer["state"], trailer["name"]) == ("failed", "sweep.60")
    assert trailer["id"] == element_id(array, 2)


def test_ids_tell_of_the_array_and_the_element(bench: Bench) -> None:
    array = drop(bench)
    ids = list(bench.parts.table.elements[array])
    assert ids == [element_id(array, position) for position in range(WINDOW)]


def test_lines_of_a_file_are_the_elements(bench: Bench) -> None:
    folder = bench.layout.incoming / "sweep.in"
    folder.mkdir()
    (folder / "seeds.txt").write_text("".join(f"seed {n}\n" for n in range(30)))
    (folder / "data").write_text("x")
    array = drop(bench, "array_file = seeds.txt")
    task = array_of(bench, array)
    assert [item.name for item in task.spec.files.inputs] == ["data"], "a file, no input"
    assert len(list(bench.layout.inputs.iterdir())) == 2
    finish(bench)
    lines = [launch.element.line for launch in bench.agent.launched if launch.element]
    assert lines == [f"seed {n}" for n in range(30)]
    assert not list(bench.layout.inputs.iterdir())


@pytest.mark.parametrize("name", ["sweep", "other"])
def test_arrays_share_the_window_and_each_moves(bench: Bench, name: str) -> None:
    first = drop(bench)
    second = drop(bench, name=name)
    assert first != second
    third = drop(bench, "array = 1-100", name="third")
    assert len(open_indexes(bench, second)) == WINDOW, "no less than each may have at least"
    assert len(open_indexes(bench, third)) == WINDOW
    finish(bench)
    assert not bench.parts.table.tasks


def test_arrays_of_one_name_take_no_names_from_each_other(bench: Bench) -> None:
    first, second = drop(bench, "array = 1-3"), drop(bench, "array = 1-3")
    assert first != second
    finish(bench)
    names = [f"sweep{part}.result" for part in (".1", ".2", ".3", "")]
    others = [name.replace("sweep", f"sweep.{second}") for name in names]
    assert result_names(bench) == sorted(names + others)
    third = drop(bench, "array = 1-2", name="sweep")
    assert array_of(bench, third).result_name == f"sweep.{third}"


def test_a_result_that_lies_where_an_elements_should_is_left_alone(bench: Bench) -> None:
    (bench.layout.results / "sweep.2.result").write_text("mine")
    array = drop(bench, "array = 1-3")
    finish(bench)
    assert (bench.layout.results / "sweep.2.result").read_text() == "mine"
    other = f"sweep.2.{element_id(array, 1)}"
    assert bench.trailer(other)["name"] == "sweep.2"


def test_an_id_that_somebody_gave_to_a_task_of_his_own_stays_his(bench: Bench) -> None:
    array = drop(bench)
    mine = element_id(array, 30)
    header = f'{{"id": "{mine}", "run": {{"command": ["true"]}}}}\n'
    bench.drop("mine.task", f"SPOOLMW-TASK 1\n{header}")
    bench.until(lambda: bench.parts.table.get(mine))
    for launch in bench.agent.launched:
        bench.agent.finish(launch.attempt)
    bench.ticks()
    for _ in range(60):
        bench.ticks(1)
        for launch in bench.agent.launched:
            bench.agent.finish(launch.attempt) if launch in bench.agent.launched else None
    assert bench.trailer("mine")["name"] == "mine"
    assert array_of(bench, array).state is TaskState.DONE
    assert bench.trailer("sweep.31")["id"] != mine


# What users do to it


def test_a_cancelled_array_ends_with_what_is_open_and_says_what_never_was(bench: Bench) -> None:
    array = drop(bench)
    finish(bench, most=3)
    [answer] = bench.ask("cancel", ids=[array])["results"]  # type: ignore[index]
    assert answer["ok"]
    bench.until(lambda: bench.delivered("sweep"))
    head = read_head(bench.layout.results / "sweep.result")
    counts = head["elements"]
    assert (counts["total"], counts["done"], counts["failed"]) == (40, 3, 0)
    assert counts["cancelled"] + counts["skipped"] == 37
    assert counts["skipped"] > 37 - WINDOW - 1
    assert bench.trailer("sweep")["state"] == "cancelled"
    assert len(result_names(bench)) == 1 + 3 + counts["cancelled"]
    assert bench.agent.stopped


def test_a_retry_of_a_cancelled_array_runs_all_that_did_not_succeed(bench: Bench) -> None:
    array = drop(bench)
    ran = finish(bench, most=3)
    bench.ask("cancel", ids=[array])
    bench.until(lambda: not bench.parts.table.tasks)
    [answer] = bench.ask("retry", ids=[array])["results"]  # type: ignore[index]
    assert answer["ok"], answer
    ran += finish(bench)
    assert sorted(set(ran)) == list(range(1, 41))
    assert array_of(bench, array).state is TaskState.DONE
    assert bench.trailer(f"sweep.{array}")["state"] == "done"
    assert bench.delivered("sweep.40"), "elements keep the name that they would have had"


def test_a_retry_of_failed_elements_goes_a_window_at_a_time(bench: Bench) -> None:
    array = drop(bench)
    finish(bench, failing=tuple(range(1, 41)))
    assert array_of(bench, array).state is TaskState.FAILED
    launched = len(bench.agent.launched)
    bench.ask("retry", ids=[array], failed=True)
    bench.ticks()
    assert len(open_indexes(bench, array)) == WINDOW
    ran = finish(bench, failing=(7,))
    assert ran == list(range(1, 41))
    assert len(bench.agent.launched) == launched + 40
    tally = array_of(bench, array).tally
    assert tally is not None
    assert (tally.done, tally.failed) == (39, 1)


def test_a_retry_of_what_nothing_is_wrong_with_is_refused(bench: Bench) -> None:
    array = drop(bench)
    [answer] = bench.ask("retry", ids=[array])["results"]  # type: ignore[index]
    assert (answer["ok"], answer["text"]) == (
        False,
        "none of its elements failed or was cancelled",
    )


def test_failed_elements_can_be_retried_while_the_array_goes_on(bench: Bench) -> None:
    array = drop(bench)
    finish(bench, failing=(1, 2, 3), most=4)
    [answer] = bench.ask("retry", ids=[array], failed=True)["results"]  # type: ignore[index]
    assert answer["ok"], answer
    ran = finish(bench)
    assert Counter(ran)[1] == Counter(ran)[3] == 1
    assert array_of(bench, array).state is TaskState.DONE


def test_one_element_that_is_retried_opens_its_array_until_it_has_ended(bench: Bench) -> None:
    array = drop(bench, "array = 1-3")
    finish(bench, failing=(2,))
    element = element_id(array, 1)
    [answer] = bench.ask("retry", ids=[element])["results"]  # type: ignore[index]
    assert answer["ok"], answer
    assert array_of(bench, array).state is TaskState.EXPANDING
    assert finish(bench) == [2]
    assert array_of(bench, array).state is TaskState.DONE
    assert bench.trailer(f"sweep.2.{element}")["state"] == "done"


def test_a_held_array_starts_nothing_until_it_is_released(bench: Bench) -> None:
    array = drop(bench)
    bench.ask("hold", ids=[array])
    bench.ticks()
    assert array_of(bench, array).state is TaskState.HELD
    states = Counter(task.state for task in bench.parts.table)
    assert states == {TaskState.HELD: WINDOW + 1}
    bench.ask("release", ids=[array])
    ran = finish(bench)
    assert sorted(set(ran)) == list(range(1, 41))
    assert array_of(bench, array).state is TaskState.DONE


def test_the_priority_of_an_array_is_that_of_all_its_elements(bench: Bench) -> None:
    array = drop(bench)
    bench.ask("prio", ids=[array], priority=7)
    finish(bench, most=4)
    assert {task.priority for task in bench.parts.table} == {7}


def test_an_element_can_be_cancelled_before_its_turn(bench: Bench) -> None:
    array = drop(bench)
    late = element_id(array, 37)
    assert "is number 38" in str(bench.ask("why", id=late))
    [answer] = bench.ask("cancel", ids=[late])["results"]  # type: ignore[index]
    assert answer["ok"], answer
    bench.until(lambda: bench.delivered("sweep.38"))
    ran = finish(bench)
    assert ran == [n for n in range(1, 41) if n != 38]
    tally = array_of(bench, array).tally
    assert tally is not None
    assert (tally.done, tally.cancelled, tally.early, tally.made) == (39, 1, 0, 40)


def test_an_element_that_is_held_before_its_turn_waits_when_it_comes(bench: Bench) -> None:
    array = drop(bench)
    late = element_id(array, 39)
    bench.ask("hold", ids=[late])
    ran = finish(bench)
    assert 40 not in ran
    assert array_of(bench, array).state is TaskState.EXPANDING
    bench.ask("release", ids=[late])
    assert finish(bench) == [40]
    assert array_of(bench, array).state is TaskState.DONE


def test_an_array_with_a_key_is_run_once_and_its_twin_gets_its_result(bench: Bench) -> None:
    text = "#!/bin/sh\n#SPOOLMW array = 1-3\n#SPOOLMW key = k\ntrue\n"
    bench.drop("a", text)
    bench.drop("b", text)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING])
    ran = finish(bench)
    bench.until(lambda: bench.delivered("b"))
    assert ran == [1, 2, 3]
    assert bench.trailer("b")["copy_of"] == bench.trailer("a")["id"]
    assert read_head(bench.layout.results / "b.result")["elements"]["done"] == 3
    bench.drop("c", text)
    bench.until(lambda: bench.delivered("c"))
    assert bench.trailer("c")["copy_of"] == bench.trailer("a")["id"]
    assert not bench.delivered("b.1")


def test_a_twin_of_an_array_that_failed_runs_itself(bench: Bench) -> None:
    text = "#!/bin/sh\n#SPOOLMW array = 1-3\n#SPOOLMW key = k\ntrue\n"
    bench.drop("a", text)
    bench.until(lambda: bench.parts.table.elements)
    bench.drop("b", text)
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING])
    finish(bench, failing=(2,), most=3)
    finish(bench)
    assert bench.trailer("a")["state"] == "failed"
    assert bench.trailer("b")["state"] == "done"
    assert bench.delivered("b.2")


# Together with `after`


def after(words: str, array: str = "") -> str:
    lines = f"#SPOOLMW after = {words}\n" + (f"#SPOOLMW {array}\n" if array else "")
    return f"#!/bin/sh\n{lines}true\n"


def end_of(bench: Bench, name: str, ended: results.Ended | None = None) -> None:
    """Let the one attempt of a plain task end."""
    bench.until(lambda: [each for each in bench.agent.launched if each.spec.name == name])
    [launch] = [each for each in bench.agent.launched if each.spec.name == name]
    bench.agent.finish(launch.attempt, ended)


def test_an_array_waits_as_a_whole(bench: Bench) -> None:
    bench.drop("first", "#!/bin/sh\ntrue\n")
    bench.until(lambda: bench.agent.launched)
    bench.drop("sweep", after('["first"]', "array = 1-3"))
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING])
    [array] = bench.parts.table.elements
    assert "waits for first" in str(bench.ask("why", id=array))
    assert "is waiting" in str(bench.ask("why", id=element_id(array, 1)))
    with pytest.raises(UnknownTask, match="element of sweep"):
        raise bench.ask("cancel", ids=[element_id(array, 1)])  # type: ignore[misc]
    end_of(bench, "first")
    bench.until(lambda: bench.parts.table.elements[array])
    assert sorted(finish(bench)) == [1, 2, 3]
    assert bench.trailer("sweep")["state"] == "done"


def test_an_array_whose_predecessor_failed_fails_as_a_whole_and_can_be_retried(
    bench: Bench,
) -> None:
    bench.drop("first", "#!/bin/sh\ntrue\n")
    bench.until(lambda: bench.agent.launched)
    bench.drop("sweep", after('["first"]', "array = 1-3"))
    bench.until(lambda: bench.parts.table.elements)
    [array] = bench.parts.table.elements
    end_of(bench, "first", results.failed("exit", "1"))
    bench.until(lambda: not bench.parts.table.tasks)
    assert "first" in str(bench.trailer("sweep")["message"])
    assert result_names(bench) == ["first.result", "sweep.result"]
    [answer] = bench.ask("retry", ids=[array])["results"]  # type: ignore[index]
    assert "would have to be retried first" in answer["text"]
    answers = bench.ask("retry", ids=[array_of(bench, array).predecessors[0]], successors=True)
    assert [each["ok"] for each in answers["results"]] == [True, True]  # type: ignore[index]
    bench.until(lambda: len(bench.agent.launched) == 2)
    bench.agent.finish(bench.agent.launched[1].attempt)
    bench.until(lambda: bench.parts.table.elements[array])
    assert sorted(finish(bench)) == [1, 2, 3]
    assert array_of(bench, array).state is TaskState.DONE


@pytest.mark.parametrize("word", ["sweep", "sweep.3", "sweep.40"])
def test_a_task_runs_after_an_array_or_one_element_made_or_not(bench: Bench, word: str) -> None:
    drop(bench)
    bench.drop("last", after(f'["{word}"]'))
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING])
    for _ in range(60):
        launched = [each for each in bench.agent.launched if each.spec.name == "last"]
        if launched:
            break
        for each in bench.agent.sightings():
            bench.agent.finish(each.attempt)
        bench.ticks(2)
    end_of(bench, "last")
    finish(bench)
    assert bench.trailer("last")["state"] == "done"


def test_a_task_after_an_array_of_which_one_element_failed_fails_too(bench: Bench) -> None:
    drop(bench, "array = 1-3")
    bench.drop("last", after('["sweep"]'))
    bench.until(lambda: bench.parts.table.states[TaskState.WAITING])
    finish(bench, failing=(2,))
    bench.until(lambda: bench.delivered("last"))
    assert "sweep" in str(bench.trailer("last")["message"])


# What is refused


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("array = 9-1", "ends before it begins"),
        ("array = 1-20000000", "up to 10,000,000"),
        ("array_file = seeds.txt", "seeds.txt is missing"),
        ('array = "1-3"\n#SPOOLMW command = ["{idx}"]', "neither {index} nor {line}"),
    ],
)
def test_an_array_that_cannot_be_is_refused_with_what_is_wrong(
    bench: Bench, text: str, says: str
) -> None:
    bench.drop("sweep", script(text))
    reason = bench.layout.rejected / "sweep.reason"
    bench.until(reason.exists)
    assert says in reason.read_text()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"a\n\nb\n", "line 2"),
        (b"a\r\nb\r\n", "dos2unix"),
        (b"a\nb\xff\n", "not UTF-8 in line 2"),
        (b"x" * 5000, "more than 4096 bytes"),
    ],
)
def test_a_file_of_lines_that_cannot_be_elements_is_refused(
    bench: Bench, content: bytes, says: str
) -> None:
    folder = bench.layout.incoming / "sweep.in"
    folder.mkdir()
    (folder / "seeds.txt").write_bytes(content)
    bench.drop("sweep", script("array_file = seeds.txt"))
    reason = bench.layout.rejected / "sweep.reason"
    bench.until(reason.exists)
    assert says in reason.read_text()
    assert (bench.layout.rejected / "sweep.in" / "seeds.txt").exists()


def test_a_larger_array_can_be_allowed(bench: Bench) -> None:
    bench.parts.reactor.intake.provisions.max_elements = 20_000_000
    bench.drop("sweep", script("array = 1-16777215"))
    bench.until(lambda: bench.parts.table.elements)
    bench.drop("other", script("array = 1-16777216"))
    bench.until((bench.layout.rejected / "other.reason").exists)


# Crashes


def test_an_array_goes_on_after_a_crash_without_losing_or_doubling_an_element(
    bench: Bench,
) -> None:
    array = drop(bench)
    ran = finish(bench, most=7)
    bench.parts.journal.abandon()  # as a kill leaves it
    bench.start()
    ran += finish(bench)
    assert array_of(bench, array).state is TaskState.DONE
    assert Counter(name.endswith(".result") for name in result_names(bench))[True] == 41
    assert set(ran) == set(range(1, 41))


@pytest.mark.parametrize("logged", [True, False])
def test_a_rebuilt_journal_runs_no_element_that_ended(bench: Bench, *, logged: bool) -> None:
    array = drop(bench)
    finish(bench, most=7, failing=(3,))
    before = result_names(bench)
    bench.close()
    if not logged:
        bench.layout.done_log.write_text("")  # the results alone must do
    report = rebuild(bench.layout)
    assert (report["ended"], report["open"]) == (7, 1)
    bench.start()
    assert (bench.parts.table.get(array) or replace).state is TaskState.EXPANDING  # type: ignore[union-attr]
    ran = finish(bench)
    assert sorted(ran) == list(range(8, 41))
    assert set(before) < set(result_names(bench))
    tally = array_of(bench, array).tally
    assert tally is not None
    assert (tally.done, tally.failed, tally.made) == (39, 1, 40)
    [answer] = bench.ask("retry", ids=[array], failed=True)["results"]  # type: ignore[index]
    assert answer["ok"], answer
    assert finish(bench) == [3]
    assert array_of(bench, array).state is TaskState.DONE


def test_a_rebuilt_journal_knows_the_counts_of_an_array_that_ended(bench: Bench) -> None:
    array = drop(bench, "array = 1-5")
    finish(bench, failing=(2, 4))
    bench.close()
    assert rebuild(bench.layout)["ended"] == 6
    bench.start()
    tally = array_of(bench, array).tally
    assert tally is not None
    assert (tally.total, tally.done, tally.failed, tally.skipped) == (5, 3, 2, 0)
    bench.ask("retry", ids=[array])
    assert finish(bench) == [2, 4]


def test_an_array_whose_end_was_lost_with_the_journal_ends_again(bench: Bench) -> None:
    array = drop(bench, "array = 1-5")
    finish(bench, failing=(2,))
    name = array_of(bench, array).result_name
    bench.close()
    (bench.layout.results / f"{name}.result").unlink()
    lines = bench.layout.done_log.read_text().splitlines(keepends=True)
    bench.layout.done_log.write_text("".join(line for line in lines if array not in line))
    report = rebuild(bench.layout)
    assert (report["ended"], report["open"]) == (5, 1)
    bench.start()
    bench.until(lambda: bench.delivered(name))
    assert finish(bench) == []
    tally = array_of(bench, array).tally
    assert tally is not None
    assert (tally.total, tally.done, tally.failed, tally.skipped) == (5, 4, 1, 0)


def test_what_the_user_wanted_of_it_outlives_the_journal(bench: Bench) -> None:
    array = drop(bench)
    finish(bench, most=2)
    bench.ask("hold", ids=[array])
    bench.ask("hold", ids=[element_id(array, 30)])
    bench.close()
    rebuild(bench.layout)
    bench.start()
    assert array_of(bench, array).state is TaskState.HELD
    bench.ask("release", ids=[array])
    bench.ticks(20)
    ran = finish(bench)
    assert sorted(ran) == list(range(3, 41))


def test_a_file_of_lines_that_is_lost_ends_the_array_with_that_said(bench: Bench) -> None:
    folder = bench.layout.incoming / "sweep.in"
    folder.mkdir()
    (folder / "seeds.txt").write_text("".join(f"{n}\n" for n in range(40)))
    array = drop(bench, "array_file = seeds.txt")
    for path in bench.layout.inputs.iterdir():
        path.unlink()
    finish(bench)
    task = array_of(bench, array)
    assert task.state is TaskState.FAILED
    assert "its file cannot be read any more" in str(bench.trailer("sweep")["message"])
    assert read_trailer(bench.layout.results / "sweep.1.result")["state"] == "done"
