"""Names from outside: what may become part of a path, and what is shown (threats 24, 29, 79)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolmw.format.names import (
    box_problem,
    escape,
    input_problem,
    name_problem,
    path_problem,
    sanitise,
)

GOOD = ["job.sh", "a", "Fold 17.toml", "größe.task", "日本.sh", "x" * 128, "a=b,c@d%e:f#(1)[2]~3",
        "_x", "résumé.toml", "x+y"]  # fmt: skip
BAD = ["0\x1f", "x\n", "x\x00", "x/", "",
       ".", "..", ".hidden", "-rf", " x", "x ", "a/b", "../x", "/etc/passwd", "a\0b", "a\nb",
       "a\x1b[31mb", "a\x7fb", "a\x85b", "a\u202eb", "a\u200bb", "a\ufeffb", "a\udcffb", "x" * 129,
       "ö" * 65, "e\u0301", "a\u2028b", "a\\b", "a*b", "a?b", 'a"b', "a|b", "a`b", "a$b",
       "a;b"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_may_be_part_of_a_path(name: str) -> None:
    assert name_problem(name) == ""


@pytest.mark.parametrize("name", BAD)
def test_other_names_are_refused_with_a_reason(name: str) -> None:
    assert name_problem(name)


@pytest.mark.parametrize("name", [*BAD, "a~b", "x" * 65])
def test_a_box_is_short_and_without_the_sign_that_parts_names_in_active(name: str) -> None:
    assert box_problem(name)


@given(st.text(max_size=200) | st.text(st.characters(max_codepoint=127), max_size=4))
def test_an_allowed_name_is_one_harmless_component(name: str) -> None:
    if name_problem(name) == "":
        assert Path(name).name == name
        assert name not in (".", "..")
        assert name.isprintable()
        assert len(os.fsencode(f"{'0' * 32}~{'b' * 64}~{name}")) <= 255


@pytest.mark.parametrize("path", ["a.csv", "*.csv", "out/*.npz", "a b/c", "state.*"])
def test_a_path_below_its_folder_is_fine(path: str) -> None:
    assert path_problem(path) == input_problem(path) == ""


@pytest.mark.parametrize(
    "path", ["", "..", "../a", "a/../b", "a//b", "./a", "a/", "a/./b", "a\nb", "a\0", "x" * 256,
             "a/" * 600 + "a", "a\udcff"]
)  # fmt: skip
def test_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    assert path_problem(path)
    assert input_problem(path)


def test_only_inputs_may_be_absolute() -> None:
    assert path_problem("/data/x.npz")
    assert input_problem("/data/x.npz") == ""
    assert input_problem("/data/../etc/shadow")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, größe 日本", "plain text, größe 日本"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_escaped_text_is_always_printable_on_one_line(text: str) -> None:
    shown = escape(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_long_text_is_cut() -> None:
    assert escape("x" * 100, 10) == "xxxxxxx..."


@pytest.mark.parametrize(
    ("text", "name"),
    [("simulate", "simulate"), ("<lambda>", "lambda"), ("a b/c", "a_b_c"), ("../..", "task"),
     ("", "task"), ("größe", "gr_e"), ("-x", "x")],
)  # fmt: skip
def test_any_text_can_be_made_a_name(text: str, name: str) -> None:
    assert sanitise(text) == name


@given(st.text())
def test_a_sanitised_text_is_an_allowed_name(text: str) -> None:
    assert name_problem(sanitise(text)) == ""
    assert name_problem(sanitise(text, 20)) == ""
