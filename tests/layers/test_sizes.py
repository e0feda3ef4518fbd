"""Quality shows in the tail: no long module, no long function, no import inside a function."""

from __future__ import annotations

import ast

import pytest

from tests.layers.source import Module, functions, lines_of, modules

LONGEST_MODULE = 350  #: lines
LONGEST_FUNCTION = 60  #: lines, without the docstring

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "manager", "core", "misc"}


def by_name(module: Module) -> str:
    return module.name


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_a_module_fits_into_a_readers_head(module: Module) -> None:
    lines = module.text.count("\n")
    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_a_function_fits_on_a_screen(module: Module) -> None:
    long = {node.name: lines_of(node) for node in functions(module)}
    assert {name: n for name, n in long.items() if n > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_nothing_is_imported_inside_a_function(module: Module) -> None:
    inside = [
        f"{module.name}:{child.lineno}"
        for node in functions(module)
        for child in ast.walk(node)
        if isinstance(child, ast.Import | ast.ImportFrom)
    ]
    assert not inside


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_a_module_opens_with_a_sentence_on_its_duty(module: Module) -> None:
    docstring = ast.get_docstring(module.tree)
    assert docstring, f"{module.name} has no docstring"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":", "?", '."')), docstring


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_a_module_is_named_after_a_thing_or_a_duty(module: Module) -> None:
    assert not FORBIDDEN_NAMES & set(module.name.split("."))
