"""The two forms that people write by hand: `*.toml`, and a script with `#SPOOLMW` lines."""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

from spoolmw.format.keyed import Path, nearest, shown, toml_line
from spoolmw.format.schema import KNOWN, SECTIONS, SHORT

#: `#SPOOLMW` lines stand within this many bytes of a script.
SCRIPT_HEADER_BYTES = 32 * 1024
#: Dots outside of quotes in a TOML file: tomllib takes quadratic time for a.a.a.a.a...
_MOST_DOTS = 500

Tree = dict[str, object]


class BadForm(ValueError):
    """The text cannot be read at all; `line` says where, 0 if nobody knows."""

    def __init__(self, why: str, fix: str = "", line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix
        self.line = line


class Written(NamedTuple):
    """A tree of keys, and where in the text each was written."""

    tree: Tree
    text: str
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest key above it; 0: unknown."""
        if not self.lines:
            return toml_line(self.text, path)
        for end in range(len(path), 0, -1):
            for written, line in self.lines.items():
                if written[:end] == path[:end] and (end == len(path) or len(written) == end):
                    return line
        return 0


def read_toml(data: bytes) -> Written:
    """The tree of a `*.toml`, or `BadForm`."""
    text = decode(data)
    if _dots(text) > _MOST_DOTS:
        raise BadForm("it has too many dotted keys", "write [sections] instead")
    try:
        return Written(tomllib.loads(text.replace("\r\n", "\n")), text, {})
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"line (\d+)", str(problem))
        raise BadForm(
            f"it is not TOML: {problem}",
            "texts need double quotes",
            int(found[1]) if found else 0,
        ) from None
    except RecursionError:
        raise BadForm("it is nested too deeply") from None
    except ValueError as problem:  # a number with thousands of digits, an impossible date
        raise BadForm(f"it has an impossible value in it: {problem}") from None


def _dots(text: str) -> int:
    # What is quoted is not counted; where quotes span lines that cannot be told by a glance.
    if '"""' not in text and "'''" not in text:
        text = re.sub(r"\"(?:[^\"\\\n]|\\.)*\"?|'[^'\n]*'?", "", text)
    return text.count(".")


def read_script(data: bytes) -> Written:
    """The tree that the `#SPOOLMW key = value` lines of a script make, or `BadForm`."""
    tree: Tree = {}
    lines: dict[Path, int] = {}
    start = 0
    for number, raw in enumerate(data.split(b"\n"), 1):
        begins, start = start, start + len(raw) + 1
        if not raw.startswith(b"#SPOOLMW"):
            continue
        if begins > SCRIPT_HEADER_BYTES:
            raise BadForm(
                "a #SPOOLMW line stands beyond the first 32 KiB of the script",
                "move it to the top, below the first line",
                number,
            )
        try:
            path, value = _setting(decode(raw))
            _put(tree, path, value)
        except BadForm as problem:
            raise BadForm(problem.why, problem.fix, number) from None
        lines[path] = number
    return Written(tree, "", lines or {("",): 0})


_LINE = re.compile(r"#SPOOLMW[ \t]+([A-Za-z0-9_.-]+)[ \t]*=[ \t]*(\S.*)")
_BARE = re.compile(r"([A-Za-z0-9_+./:@,-]+)[ \t]*(?:#.*)?")


def _setting(line: str) -> tuple[Path, object]:
    match = _LINE.fullmatch(line.rstrip())
    if match is None:
        raise BadForm("this is no setting", 'write it as #SPOOLMW time = "10m"')
    path = full_path(tuple(match[1].split(".")))
    return path, _value(match[2])


def _value(text: str) -> object:
    if _dots(text) > 20:
        raise BadForm("the value has too many dots outside of quotes in it")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        bare = _BARE.fullmatch(
            text
        )  # 2GB, 10m, 1,3-5, /usr/bin/python3: as nobody quotes in a shell
    if bare is None:
        raise BadForm(
            f"{shown(text)} is not a value", "texts with spaces or signs need double quotes"
        )
    return bare[1]


def full_path(path: Path) -> Path:
    """The whole path of a key that may be written short: `memory` is `resources.memory`."""
    if len(path) > 3 or not all(path):
        raise BadForm(f"{shown('.'.join(path))} is no key")
    first = path[0]
    if first in KNOWN or first not in SHORT:
        if first in SECTIONS and len(path) == 1:
            keys = ", ".join(f"{first}.{key}" for key in SECTIONS[first][2])
            raise BadForm(f"{first} is a section", f"its keys are {keys}")
        if first not in KNOWN and nearest(first, SHORT) and not nearest(first, KNOWN):
            raise BadForm(
                f'the key "{first}" is unknown', f'did you mean "{nearest(first, SHORT)}"?'
            )
        return path
    return (SHORT[first], *path)


def _put(tree: Tree, path: Path, value: object) -> None:
    for part in path[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            raise BadForm(f"{'.'.join(path)} was set before as a whole")
        tree = below
    if path[-1] in tree:
        raise BadForm(f"{'.'.join(path)} is set twice", "leave one of the lines out")
    tree[path[-1]] = value


def decode(data: bytes) -> str:
    """`data` as text: UTF-8 without byte-order mark and without NUL, or `BadForm`."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise BadForm("it begins with a byte-order mark", "save it as UTF-8 without BOM")
    if b"\0" in data:
        raise BadForm("it has a NUL byte in it", "save it as plain text in UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise BadForm("it is not UTF-8", "save it as UTF-8", line) from None
