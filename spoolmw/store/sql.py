"""Reads the named statements of `queries.sql`: every statement has a name and a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

#: Version of the tables; stands in SQLite's `user_version`.
VERSION = 5

_HEAD = re.compile(r"^-- ([a-z_]+): (.+)$", re.MULTILINE)


def statements(text: str) -> dict[str, str]:
    """The statements of a file in the order they stand, by name."""
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found: dict[str, str] = {}
    for head, end in zip(heads, ends, strict=True):
        name = head.group(1)
        if name in found:
            raise ValueError(f"two statements are called {name}")
        found[name] = text[head.end() : end].strip().removesuffix(";")
    return found


QUERIES: Mapping[str, str] = statements(
    (files("spoolmw.store") / "queries.sql").read_text("utf-8")
)
