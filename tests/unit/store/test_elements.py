"""Arrays in the journal: one row with a tally, elements with rows of their own, found by name."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from spoolmw.format.arrays import element_id
from spoolmw.model.task import Element, Tally, Task, TaskState
from spoolmw.store.journal import Changed, Journal
from spoolmw.store.reports import Reports
from tests.unit.store.builders import (
    an_array,
    an_element,
    an_ending,
    an_id,
    commit,
    submitted,
)


def test_every_field_of_an_array_and_its_elements_comes_back(journal: Journal) -> None:
    tally = Tally(
        total=9, made=8, early=1, skipped=1, done=2, failed=3, cancelled=1, offset=77,
        again=4, again_all=True, again_fresh=True, adopted=True, note='by "me"', name="base", broken=True,
    )  # fmt: skip
    assert all(getattr(tally, each.name) != each.default for each in fields(Tally))
    before, after = an_array(), an_array(tally=tally)
    element = an_element(before, 1, seq=2, element=Element(before.id, 1, 2, "a line\t é"))
    commit(journal, submitted(before), submitted(element))
    assert journal.get(before.id) == before
    assert journal.get(element.id) == element
    commit(journal, Changed(before, after, ()))
    assert journal.get(after.id) == after


class TestElements:
    """An array of six: elements 1 to 5 have rows, of which 3 failed and 4 was cancelled."""

    @pytest.fixture
    def array(self, journal: Journal) -> Task:
        array, other = an_array(1, total=6), an_array(2, total=6)
        ended = {1: TaskState.DONE, 3: TaskState.FAILED, 4: TaskState.CANCELLED}
        elements = [an_element(array, position, seq=10 + position) for position in range(1, 6)]
        elements = [
            replace(each, state=ended[n], ending=an_ending(ended[n])) if n in ended else each
            for n, each in enumerate(elements, 1)
        ]
        strange = an_element(other, 3, seq=30, state=TaskState.FAILED)
        strange = replace(strange, ending=an_ending(TaskState.FAILED))
        commit(journal, *map(submitted, (array, other, *elements, strange)))
        return array

    def test_those_that_can_be_retried_are_found_from_a_position_on(
        self, journal: Journal, array: Task
    ) -> None:
        def found(position: int, *, cancelled: bool = True, limit: int = 10) -> list[int]:
            tasks = journal.elements.to_retry(
                array.id, position, cancelled=cancelled, limit=limit
            )
            return [task.element.position for task in tasks if task.element]

        assert found(0) == [3, 4]
        assert found(4) == [4]
        assert found(0, cancelled=False) == [3]
        assert found(0, limit=1) == [3]
        assert found(5) == []

    def test_they_are_counted_by_their_states(self, journal: Journal, array: Task) -> None:
        assert journal.elements.counts(array.id) == {
            TaskState.QUEUED: 2,
            TaskState.DONE: 1,
            TaskState.FAILED: 1,
            TaskState.CANCELLED: 1,
        }

    def test_whose_an_id_is_can_be_asked(self, journal: Journal, array: Task) -> None:
        ids = [element_id(array.id, position) for position in range(7)]
        assert journal.elements.owners([*ids, array.id]) == {
            **dict.fromkeys(ids[1:6], array.id),
            array.id: None,
        }

    def test_they_stay_while_their_array_goes_on(self, journal: Journal, array: Task) -> None:
        assert journal.ended_before(2e10, limit=10, with_results=False) == []
        after = replace(array, state=TaskState.FAILED, ending=an_ending(TaskState.FAILED))
        commit(journal, Changed(array, after, ()))
        assert len(journal.ended_before(2e10, limit=10, with_results=False)) == 4

    def test_an_array_is_one_line_and_its_elements_are_listed_on_demand(
        self, journal: Journal, array: Task
    ) -> None:
        with Reports.open(journal.path) as reports:
            assert [each["seq"] for each in reports.tasks(elements=False)] == [1, 2]
            assert [each["seq"] for each in reports.tasks(elements=False, state="open")] == [
                1,
                2,
            ]
            assert len(list(reports.tasks())) == 8
            assert [e["index"] for e in reports.elements(array.id)] == [2, 3, 4, 5, 6]
            newest = reports.elements(array.id, state="open", newest=True)
            assert [each["index"] for each in newest] == [6, 3]

    def test_an_element_is_found_by_name_before_it_is_a_task(
        self, journal: Journal, array: Task
    ) -> None:
        with Reports.open(journal.path) as reports:
            ids = reports.resolve("sweep.1")
            assert ids == [element_id(an_id(number), 0) for number in (2, 1)]
            told = reports.task(ids[1])
            assert told is not None
            assert (told["state"], told["name"], told["array"]) == (
                "unmade",
                "sweep.1",
                array.id,
            )
            assert told["result"] == "results/sweep.1.result"
            assert reports.resolve("sweep.7") == []
            assert reports.resolve("sweep.0") == []
            assert reports.resolve("sweep") == [an_id(2), an_id(1)]
            assert reports.task(element_id(array.id, 6)) is None
