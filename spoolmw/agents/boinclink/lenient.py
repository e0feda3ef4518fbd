"""Reads the nearly-XML that BOINC clients write: a bounded tree of whatever was understood.

Clients put a program's stderr into a CDATA section as it is, so no strict parser reads their
reports. Here nothing is an error: what is no tag is text, what is not closed ends with what holds
it, and the time taken grows with the bytes, whatever they are.

Rule 1: what stands in <stderr_out> is cut out before tags are looked for.
Rule 2: no pattern looks at a byte more often than a few times; hence the possessive quantifiers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_BYTES = 4 << 20  #: of a body; what follows is not looked at
MOST_DEPTH = 32  #: what is nested deeper becomes siblings
MOST_ELEMENTS = 120_000  #: more than 4 MiB of reports have

#: C0 controls without tab, line feed and carriage return; no text of ours has them.
_CONTROLS = bytes(each for each in (*range(32), 127) if each not in b"\t\n\r")
_CLEANED = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))

_NAME = r"[A-Za-z_][\w.-]{0,63}+"
#: Either an element with nothing but text, or one tag.
_TOKEN = re.compile(rf"<(?:({_NAME})>([^<]*+)</\1>|(/?+)({_NAME})([^<>]{{0,500}}+)>)", re.ASCII)
_OPAQUE = re.compile(r"<(stderr_out>|!\[CDATA\[)")
#: What ends an opaque part, the surest sign first; a program may have written any of them.
_ENDS = {
    "stderr_out>": (
        re.compile(r"</stderr_out>(?=\s*+(?:</result>|<file_info>))"),
        re.compile(r"</stderr_out>"),
        re.compile(r"(?=</result>)"),
        re.compile(r"\Z"),
    ),
    "![CDATA[": (re.compile(r"\]\]>"),),
}
_NAMED = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_REFERENCES = re.compile(r"&(lt|gt|quot|apos|amp);|((?:&#\d{1,3};)++)", re.ASCII)
_REFERRED = re.compile(r"\d++", re.ASCII)


class Element:
    """A tag, the text right behind it, and what stands between it and its end."""

    __slots__ = ("children", "tag", "text")

    def __init__(self, tag: str, text: str = "") -> None:
        self.tag = tag
        self.text = text
        self.children: list[Element] = []

    def fields(self) -> dict[str, Element]:
        """Its children by tag: the first of each."""
        return {child.tag: child for child in reversed(self.children)}

    def every(self, tag: str) -> Iterator[Element]:
        """All below it with this tag, in their order."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            if element.tag == tag:
                yield element
            waiting.extend(reversed(element.children))


class _Tree:
    """Grows below a root without a name."""

    def __init__(self) -> None:
        self.root = Element("")
        self._open = [self.root]
        self._left = MOST_ELEMENTS

    @property
    def is_full(self) -> bool:
        return self._left <= 0

    def add(self, tag: str, text: str) -> Element:
        element = Element(tag, text)
        self._open[-1].children.append(element)
        self._left -= 1
        return element

    def read(self, text: str, start: int, end: int) -> None:
        """Add the elements that begin from `start` to `end`."""
        for found in _TOKEN.finditer(text, start, end):
            leaf, content, slash, tag, rest = found.groups()
            if leaf is not None:
                self.add(leaf, content)
            elif slash:
                self._close(tag)
            elif rest.endswith("/"):
                self.add(tag, "")
            else:
                self._descend(tag)
            if self.is_full:
                return

    def _descend(self, tag: str) -> None:
        if len(self._open) > MOST_DEPTH:
            self._open.pop()
        self._open.append(self.add(tag, ""))

    def _close(self, tag: str) -> None:
        for level in range(len(self._open) - 1, 0, -1):
            if self._open[level].tag == tag:
                del self._open[level:]
                return


def parse(body: bytes) -> tuple[Element, bool]:
    """A root without a name over all that was understood, and whether all was looked at.

    Never raises.
    """
    text = body[:MOST_BYTES].translate(_CLEANED).decode("utf-8", "replace")
    tree = _Tree()
    done = 0
    for start, tag, content, end in _opaque_parts(text):
        tree.read(text, done, start)
        if tag:
            tree.add(tag, content)
        done = end
    tree.read(text, done, len(text))
    return tree.root, len(body) <= MOST_BYTES and not tree.is_full


def _opaque_parts(text: str) -> Iterator[tuple[int, str, str, int]]:
    """Where each begins, the tag that it stands for ("": none), its content, where it ends."""
    ends = {kind: list(patterns) for kind, patterns in _ENDS.items()}
    done = 0
    while found := _OPAQUE.search(text, done):
        done = found.end()
        kind = found[1]
        end = _first_end(text, done, ends[kind])
        if end is not None:
            tag = kind[:-1] if kind == "stderr_out>" else ""
            yield found.start(), tag, text[done : end.start()], end.end()
            done = end.end()


def _first_end(text: str, start: int, patterns: list[re.Pattern[str]]) -> re.Match[str] | None:
    """The end by the first pattern that has one; those without are not tried again."""
    while patterns:
        if found := patterns[0].search(text, start):
            return found
        del patterns[0]
    return None


def unescape(text: str) -> str:
    """`text` with its references replaced; clients write one of them for each byte of UTF-8."""
    return _REFERENCES.sub(_meant, text) if "&" in text else text


def _meant(found: re.Match[str]) -> str:
    if found[1]:
        return _NAMED[found[1]]
    codes = [int(each) for each in _REFERRED.findall(found[2])]
    if max(codes) > 255:
        return found[0]
    return bytes(codes).translate(_CLEANED).decode("utf-8", "replace")
