"""Which Python a call gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spoolmw.runner.interpreter import Interpreters, NotFound

OWN = "{}.{}".format(*sys.version_info)


def a_python(path: Path, version: str) -> str:
    """A program that says it is this version, and counts how often it was asked."""
    path.write_text(f"#!/bin/sh\necho x >> {path}.asked\necho {version}\n")
    path.chmod(0o755)
    return str(path)


def test_without_a_wish_it_is_the_runners_own() -> None:
    assert Interpreters([]).choose("", "") == sys.executable
    assert Interpreters([]).choose("", OWN) == sys.executable


def test_one_that_exists_is_taken_as_it_is(tmp_path: Path) -> None:
    path = a_python(tmp_path / "python", "2.0")
    assert Interpreters([]).choose(path, "3.11") == path
    assert not Path(f"{path}.asked").exists()


def test_on_a_foreign_host_the_one_at_that_path_must_be_the_version(tmp_path: Path) -> None:
    named, other = (a_python(tmp_path / name, name) for name in ("3.98", "3.99"))
    interpreters = Interpreters([other], foreign=True)
    assert interpreters.choose(named, "3.98") == named
    assert interpreters.choose(named, "3.99") == other
    assert interpreters.choose(named, "") == named
    with pytest.raises(NotFound, match=r"3\.98 does not fit here.*no other Python 3\.97"):
        interpreters.choose(named, "3.97")


def test_where_it_is_missing_a_configured_one_of_that_version_steps_in(tmp_path: Path) -> None:
    paths = [a_python(tmp_path / name, name) for name in ("3.98", "3.99")]
    assert Interpreters(paths).choose("/nowhere/python", "3.99") == paths[1]


def test_each_is_asked_once(tmp_path: Path) -> None:
    path = a_python(tmp_path / "python", "3.99")
    interpreters = Interpreters([path])
    for _ in range(3):
        interpreters.choose("/nowhere/python", "3.99")
    assert Path(f"{path}.asked").read_text() == "x\n"


def test_none_that_fits_is_said_with_what_was_looked_for() -> None:
    with pytest.raises(NotFound, match=r"/nowhere/python.*3\.97"):
        Interpreters(["/bin/false"]).choose("/nowhere/python", "3.97")
