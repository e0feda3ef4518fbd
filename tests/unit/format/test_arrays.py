"""The grammar of arrays, the arithmetic of positions and indexes, and what is filled in where."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolmw.errors import BadTaskFile
from spoolmw.format.arrays import (
    MOST_ELEMENTS,
    count,
    element_id,
    element_position,
    family,
    index_at,
    indexes_from,
    position_of,
    ranges_text,
    read_ranges,
    split_name,
)
from spoolmw.format.ids import is_task_id, new_task_id
from spoolmw.format.keyed import Unfit
from spoolmw.format.taskfile import TaskFile, read_header
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Array, Input
from spoolmw.runner import placeholders


def read(text: str, name: str = "a.sh") -> TaskFile:
    data = text.encode()
    return read_header(data, size=len(data), dropped=name)


def script(*lines: str) -> TaskFile:
    return read("#!/bin/sh\n" + "".join(f"#SPOOLMW {line}\n" for line in lines) + "true\n")


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("1-3", [1, 2, 3]),
        ("0", [0]),
        ("7-7", [7]),
        ("0-10:5", [0, 5, 10]),
        ("0-11:5", [0, 5, 10]),
        ("1,3,7-9", [1, 3, 7, 8, 9]),
        ("1-3:2,4-8:4", [1, 3, 4, 8]),
        ("999999999998-999999999999", [999999999998, 999999999999]),
        (17, [17]),
    ],
)
def test_ranges_are_the_indexes_that_they_say(text: object, indexes: list[int]) -> None:
    array = Array(ranges=read_ranges(text))
    assert list(indexes_from(array, 0)) == indexes
    assert count(array) == len(indexes)
    assert read_ranges(ranges_text(array.ranges)) == array.ranges


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no index"),
        ("a", "no index"),
        ("1-", "no index"),
        ("-3", "no index"),
        ("1 - 3", "no index"),
        ("1, 2", "no index"),
        ("01-10", "no index"),
        ("1-10:", "no index"),
        ("1-3:1:1", "no index"),
        ("1,", "no index"),
        ("1.5", "no index"),
        ("٣", "no index"),
        ("1000000000000", "no index"),
        ("3-1", "ends before it begins"),
        ("1-9:0", "a step of 0"),
        ("1,1", "does not come after 1"),
        ("1-5,3", "does not come after 5"),
        ("7,3", "does not come after 7"),
        (",".join(map(str, range(5000))), "at most 4096 ranges"),
        (1.5, "are a text"),
        (True, "are a text"),
        (-1, "are a text"),
        ([1, 2], "are a text"),
        (None, "are a text"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: object, says: str) -> None:
    with pytest.raises(Unfit, match=says):
        read_ranges(text)


@st.composite
def ranges(draw: st.DrawFn) -> Array:
    found, last = [], -1
    for _ in range(draw(st.integers(1, 5))):
        first = last + draw(st.integers(1, 20))
        step = draw(st.integers(1, 7))
        last = first + step * draw(st.integers(0, 9))
        found.append((first, last, step if last > first else 1))
    return Array(ranges=tuple(found))


@given(ranges())
def test_positions_and_indexes_are_each_others_inverse(array: Array) -> None:
    indexes = list(indexes_from(array, 0))
    assert indexes == sorted(set(indexes))
    assert [index_at(array, position) for position in range(count(array))] == indexes
    found = {index: position_of(array, index) for index in range(indexes[-1] + 3)}
    expected = {index: position for position, index in enumerate(indexes)}
    assert {index: at for index, at in found.items() if at is not None} == expected
    for start in range(count(array) + 1):
        assert list(indexes_from(array, start)) == indexes[start:]


def test_there_is_no_element_beyond_the_end() -> None:
    array = Array(ranges=((1, 3, 1),))
    with pytest.raises(IndexError):
        index_at(array, 3)
    assert position_of(array, 4) is None
    assert position_of(array, 10**15) is None
    assert count(Array(file=Input("seeds.txt"))) == 0


def test_an_array_of_ten_million_costs_no_more_than_one_of_ten() -> None:
    array = Array(ranges=read_ranges("1-10000000"))
    assert count(array) == 10_000_000
    assert index_at(array, 9_999_999) == 10_000_000
    assert list(itertools.islice(indexes_from(array, 9_000_000), 2)) == [9_000_001, 9_000_002]


@given(st.integers(0, MOST_ELEMENTS - 1), st.integers(0, 0xFFFFFF))
def test_an_elements_id_tells_of_its_array_and_its_place(position: int, digits: int) -> None:
    array = TaskId(f"0193a0000000{digits:06x}{'7' * 14}")
    element = element_id(array, position)
    assert is_task_id(element)
    assert element != array
    assert element_position(array, element) == position
    assert family(element) == family(array)
    assert element[:12] == array[:12], "it sorts by the time of its array"


def test_other_ids_are_no_elements() -> None:
    array = new_task_id()
    assert element_position(array, array) is None
    assert element_position(array, new_task_id()) is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sweep.17", ("sweep", 17)),
        ("a.b.0", ("a.b", 0)),
        ("sweep", None),
        (".17", None),
        ("sweep.", None),
        ("sweep.017", None),
        ("sweep.x", None),
        ("sweep.-1", None),
    ],
)
def test_an_elements_name_has_its_index_at_the_end(
    name: str, parts: tuple[str, int] | None
) -> None:
    assert split_name(name) == parts


# In a header


def test_a_script_may_leave_the_quotes_out() -> None:
    for text in ("1-3", "0-90:10", "1,3,7-9", '"1-3"', "17"):
        assert script(f"array = {text}").spec.array is not None
    assert script("array_file = seeds.txt").spec.array == Array(file=Input("seeds.txt"))


def test_toml_and_task_have_the_same_keys() -> None:
    found = read('array = "1-3"\n[run]\ncommand = ["x", "{index}"]\n', "a.toml")
    assert found.spec.array == Array(ranges=((1, 3, 1),))
    header = '{"array_file": "s.txt", "run": {"command": ["x", "{line}"]}}\n'
    found = read(f"SPOOLMW-TASK 1\n{header}", "a.task")
    assert found.spec.array == Array(file=Input("s.txt"))


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        (("array = 3-1",), 2, "ends before it begins"),
        (("name = x", "array = 1-x"), 3, "no index"),
        (("aray = 1-3",), 2, 'did you mean "array"'),
        (("array_files = x",), 2, 'did you mean "array_file"'),
        (("array = 1-3", "array_file = x"), 2, "both an array and an array_file"),
        (("array_file = ../x",), 2, "empty part, . or .."),
        (("array = 1-3", 'command = ["{idx}"]'), 3, "'{idx}' is neither"),
        (("array = 1-3", 'command = ["{line}"]'), 3, "no array_file"),
        (("array = 1-3", 'env.A = "{"'), 3, "'{' is neither"),
        (("array = 1-3", 'outputs = ["x-}.csv"]'), 3, "'}' is neither"),
    ],
)
def test_a_mistake_is_told_with_its_line(lines: tuple[str, ...], line: int, says: str) -> None:
    with pytest.raises(BadTaskFile) as caught:
        script(*lines)
    assert says in str(caught.value)
    assert f"line {line}:" in caught.value.what


def test_without_an_array_braces_are_braces() -> None:
    assert script('command = ["{idx}"]').spec.run.command == ("{idx}",)


def test_calls_belong_to_an_array_of_indexes() -> None:
    body = '"body": {"codec": "calls", "bytes": 1, "sha256": "' + "0" * 64 + '"}'
    for keys in ("", '"array_file": "x", '):
        with pytest.raises(BadTaskFile, match="calls are the elements of an array"):
            read(f"SPOOLMW-TASK 1\n{{{keys}{body}}}\nx", "a.task")
    found = read(f'SPOOLMW-TASK 1\n{{"array": "0-0", {body}}}\nx', "a.task")
    assert found.body.codec == "calls"


# What is filled in


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{index}", "17"),
        ("--seed={index}.{line}", "--seed=17.a b"),
        ("{{index}}", "{index}"),
        ("{{{index}}}", "{17}"),
        ("}}{{", "}{"),
    ],
)
def test_words_are_filled_in_with_index_and_line(text: str, filled: str) -> None:
    assert placeholders.problem(text, has_line=True) == ""
    assert placeholders.fill(text, 17, "a b") == filled


@given(st.text(alphabet="{}ainexl", max_size=12))
def test_what_is_accepted_is_filled_in_and_nothing_else_has_single_braces(text: str) -> None:
    if placeholders.problem(text, has_line=True):
        assert "{" in text or "}" in text
    else:
        bare = text.replace("{{", "").replace("}}", "")
        filled = placeholders.fill(text, 1, "")
        assert filled.count("{") == text.count("{{")
        assert filled.count("}") == text.count("}}")
        assert bare.count("{") == bare.count("}")


def test_a_line_with_braces_in_it_is_not_filled_in_again() -> None:
    assert placeholders.fill("{line}", 1, "{index}") == "{index}"
