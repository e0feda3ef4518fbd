"""Reads a tree of keys strictly: every key known, every value of its type.

The tree came from JSON or TOML. What is wrong is said with its path, so that the caller can
add the line, and with the nearest right key: a misspelt key must never be silently lost.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

from spoolmw.format.names import escape
from spoolmw.format.units import describe

Path = tuple[str, ...]
Reader = Callable[[object], object]
"""Turns a raw value into the model's, or raises `Unfit`."""


class Unfit(ValueError):
    """A value is not what its key takes; `path` leads to it from the top."""

    def __init__(self, why: str, fix: str = "", path: Path = ()) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix
        self.path = path

    def below(self, key: str) -> Unfit:
        """The same, seen from one level up."""
        return Unfit(self.why, self.fix, (key, *self.path))


def read_table(tree: object, readers: Mapping[str, Reader]) -> dict[str, object]:
    """The values of a section, each read by its key's reader."""
    if not isinstance(tree, dict):
        raise Unfit(
            f"a section was expected, not {describe(tree)}",
            f"it has the keys {', '.join(readers)}",
        )
    values = {}
    for key, raw in tree.items():
        reader = readers.get(key)
        if reader is None:
            raise unknown_key(key, readers)
        try:
            values[key] = reader(raw)
        except Unfit as problem:
            raise problem.below(key) from None
    return values


def unknown_key(key: str, known: Iterable[str]) -> Unfit:
    """The error of a key that nobody knows, with the nearest right one."""
    known = tuple(known)
    near = nearest(key, known)
    fix = f'did you mean "{near}"?' if near else f"known keys are {', '.join(known)}"
    return Unfit(f'the key "{escape(key, 64)}" is unknown', fix, (key,))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`, or ""."""
    found = difflib.get_close_matches(word[:64], list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def place_of(path: Path, line: int) -> str:
    """Where something stands, to follow "was refused": `, line 4: [run] env.HOME`."""
    shown_line = f", line {line}" if line else ""
    return f"{shown_line}: {dotted(path)}" if path else shown_line


def dotted(path: Path) -> str:
    """A path for people: `[run] env.HOME`, `priority`."""
    parts = [escape(part, 64) for part in path]
    return f"[{parts[0]}] {'.'.join(parts[1:])}" if len(parts) > 1 else "".join(parts)


def shown(raw: object) -> str:
    """A value for a message: short, on one line, harmless."""
    if isinstance(raw, str):
        return f'"{escape(raw, 60)}"'
    return describe(raw)


def toml_line(document: str, path: Path) -> int:
    """The line of `document` where `path` is written, as far as a glance tells; 0: unknown."""
    best, best_line = 0, 0
    section: Path = ()
    for number, line in enumerate(document.split("\n"), 1):
        line = line.strip()  # noqa: PLW2901
        if line.startswith("["):
            section = here = _parts(line.partition("]")[0].strip("[ "))
        else:
            key, equals, _ = line.partition("=")
            if not equals:
                continue
            here = (*section, *_parts(key))
        if best < len(here) <= len(path) and path[: len(here)] == here:
            best, best_line = len(here), number
    return best_line


def _parts(key: str) -> Path:
    return tuple(part.strip(" \"'") for part in key.split("."))
