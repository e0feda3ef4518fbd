"""`{index}` and `{line}` in the words of an array; `{{` and `}}` stand for single braces.

Nothing else may stand in braces: a misspelt `{idnex}` must not reach a program as it is.
"""

from __future__ import annotations

import re
from typing import Dict, Match, Optional

_BRACE = re.compile(r"\{\{|\}\}|\{(index|line)\}|[{}]")


def problem(text: str, *, has_line: bool) -> str:
    """Why `text` cannot be filled in; empty when it can. `has_line`: its array has a file."""
    for found in _BRACE.finditer(text):
        if found[0] in "{}":
            end = text.find("}", found.start())
            wrong = text[found.start() : end + 1] if found[0] == "{" and end > 0 else found[0]
            return f"{wrong[:40]!r} is neither {{index}} nor {{line}}"
        if found[1] == "line" and not has_line:
            return "{line} is the line of a file, and there is no array_file"
    return ""


def fill(text: str, index: int, line: Optional[str] = None) -> str:
    """`text` for one element; what `problem` objects to stays as it is."""
    if "{" not in text and "}" not in text:
        return text
    values: Dict[str, str] = {"index": str(index), "line": "" if line is None else line}

    def value(found: Match[str]) -> str:
        if found[1]:
            return values[found[1]]
        return found[0][0]

    return _BRACE.sub(value, text)
