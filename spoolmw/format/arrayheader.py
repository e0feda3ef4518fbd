"""The keys `array` and `array_file` of a header, and what they ask of the other keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spoolmw.format.arrays import read_ranges
from spoolmw.format.keyed import Reader, Unfit, read_table
from spoolmw.format.names import input_problem, path_problem
from spoolmw.format.values import checked, matching, whole
from spoolmw.model.spec import Array, Input, Spec
from spoolmw.runner import placeholders


def named_input(raw: object) -> object:
    """An input as people write it: a path."""
    return Input(str(checked(input_problem, "an input file")(raw)))


def _named_file(raw: object) -> object:
    """An array's file as people write it: a path."""
    return Array(file=cast(Input, named_input(raw)))


def _accepted_file(raw: object) -> object:
    """An array's file as `canonical` writes it: its content, and how many lines that has.

    Or its name, in a file that was claimed by a daemon that died then.
    """
    if isinstance(raw, str):
        return _named_file(raw)
    values: dict[str, Any] = read_table(
        raw,
        {
            "name": checked(path_problem, "a relative path"),
            "sha256": matching(r"[0-9a-f]{64}", "a sha256"),
            "bytes": whole(0, 2**62),
            "lines": whole(1, 2**32),
        },
    )
    if len(values) != 4:
        raise Unfit("an accepted array_file has a name, sha256, bytes and lines")
    file = Input(values["name"], values["sha256"], values["bytes"])
    return Array(ranges=((1, values["lines"], 1),), file=file)


#: Either of them makes a task an array.
ARRAY: Mapping[str, Reader] = {
    "array": lambda raw: Array(ranges=read_ranges(raw)),
    "array_file": _named_file,
}
ACCEPTED_ARRAY: Mapping[str, Reader] = {**ARRAY, "array_file": _accepted_file}


def check_array(spec: Spec, tree: Mapping[str, object]) -> None:
    """What is filled in for each element can be filled in."""
    if "array" in tree and "array_file" in tree:
        raise Unfit("there are both an array and an array_file", "leave one out", ("array",))
    has_line = "array_file" in tree
    words: list[tuple[tuple[str, ...], str]] = []
    words += [(("run", "command"), word) for word in spec.run.command]
    words += [(("run", "env", name), value) for name, value in spec.run.env]
    words += [(("files", "outputs"), pattern) for pattern in spec.files.outputs]
    for path, word in words:
        if why := placeholders.problem(word, has_line=has_line):
            raise Unfit(why, "a brace of your own is doubled: {{ or }}", path)
