"""Reads one JSON object strictly: no duplicate keys, no NaN, bounded."""

from __future__ import annotations

import json
from typing import NoReturn

from spoolmw.format.forms import BadForm, decode
from spoolmw.format.names import escape


def parse_json(data: bytes) -> dict[str, object]:
    """A JSON object, strictly: no duplicate keys, no NaN, bounded; or `BadForm`."""
    try:
        tree = _DECODER.decode(decode(data))
    except RecursionError:
        raise BadForm("it is nested too deeply") from None
    except BadForm:
        raise
    except ValueError as problem:
        raise BadForm(f"its header is not JSON: {problem}", "see docs/taskfile.md") from None
    if not isinstance(tree, dict):
        raise BadForm("its header is not a JSON object", "see docs/taskfile.md")
    return tree


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadForm(f'the key "{escape(twice, 64)}" is there twice', "leave one out")
    return tree


def _no_constant(word: str) -> NoReturn:
    raise BadForm(f"{word} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant)
