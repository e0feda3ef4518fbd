"""Reads a scheduler reply as strictly as no client does: each element on a line of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ONE = re.compile(r"<([a-z0-9_]+)(?: [a-z]+=\"[^\"]*\")*>([^<>]*)</\1>")
_EMPTY = re.compile(r"<([a-z0-9_]+)/>")
_OPEN = re.compile(r"<([a-z0-9_]+)(?: [a-z]+=\"[^\"]*\")*>")
_MOST_LINE = 4096


@dataclass
class Node:
    """One element."""

    tag: str
    text: str = ""
    inside: list[Node] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Node]:
        return (each for each in self.inside if each.tag == tag)

    def first(self, tag: str) -> Node | None:
        return next(self.all(tag), None)

    def has(self, tag: str) -> bool:
        return self.first(tag) is not None

    def get(self, tag: str, default: str = "") -> str:
        """The text of a child."""
        found = self.first(tag)
        return default if found is None else found.text

    def number(self, tag: str, default: float = 0.0) -> float:
        found = self.first(tag)
        return default if found is None else float(found.text)


class Malformed(AssertionError):
    """No stock server writes this."""


def read(body: bytes, tag: str) -> Node:
    """The element `tag` that is all of `body`. Raises Malformed."""
    root = Node("")
    open_now = [root]
    for line in body.decode("utf-8").splitlines():
        _read_line(line.strip(), open_now)
    if len(open_now) != 1 or [each.tag for each in root.inside] != [tag]:
        raise Malformed(f"not one whole <{tag}>: {body[-500:]!r}")
    return root.inside[0]


def _read_line(line: str, open_now: list[Node]) -> None:
    if len(line) > _MOST_LINE:
        raise Malformed(f"a line of {len(line)} characters")
    here = open_now[-1]
    if found := _ONE.fullmatch(line):
        here.inside.append(Node(found[1], html.unescape(found[2])))
    elif found := _EMPTY.fullmatch(line):
        here.inside.append(Node(found[1], "1"))
    elif found := _OPEN.fullmatch(line):
        here.inside.append(Node(found[1]))
        open_now.append(here.inside[-1])
    elif line == f"</{here.tag}>":
        open_now.pop()
    elif "<" in line or ">" in line:
        raise Malformed(f"inside <{here.tag}>, no element on a line of its own: {line[:200]!r}")
    elif line:
        here.text += f"{html.unescape(line)}\n"
