"""Which names from outside may become part of a path, and how any text is shown safely.

Rule 1: a name is matched against an allow-list before it touches a path.
Rule 2: a text is escaped before it touches a terminal or a log.
"""

from __future__ import annotations

import re
import unicodedata

#: Longest names, in bytes of UTF-8: with an id and a suffix they stay below 255.
MOST_BOX_BYTES = 64
MOST_NAME_BYTES = 128
MOST_RESULT_BYTES = 200  # a name, a dot and an id
MOST_PATH_BYTES = 1024

_MARKS = " ._+=,@%:#()[]~-"
_SIGN = r"A-Za-z0-9_+=,@%:#()\[\]~"
#: Plain names; all others are looked at letter by letter.
_PLAIN = re.compile(rf"[{_SIGN}](?:[{_SIGN} .-]*[{_SIGN}.-])?", re.ASCII)
_CATEGORIES = ("L", "N", "M")  # letters, digits, marks on letters


def name_problem(name: str) -> str:
    """Why `name` cannot be a dropped file's name; "" when it can."""
    return _problem(name, MOST_NAME_BYTES)


def box_problem(name: str) -> str:
    """Why `name` cannot be a box; "" when it can."""
    if "~" in name:
        return "a box may not have ~ in its name"
    return _problem(name, MOST_BOX_BYTES)


def result_problem(name: str) -> str:
    """Why `name` cannot be a result's name (without `.result`); "" when it can."""
    return _problem(name, MOST_RESULT_BYTES)


def path_problem(path: str) -> str:
    """Why `path` is no relative path below its folder (`*` is allowed); "" if it is."""
    if path.startswith("/"):
        return "it must be relative"
    return _path_problem(path)


def input_problem(path: str) -> str:
    """As `path_problem`, but an absolute path is fine: the configuration decides on those."""
    return _path_problem(path[1:] if path.startswith("/") else path)


def _problem(name: str, most: int) -> str:
    if name.isascii() and _PLAIN.fullmatch(name) and len(name) <= most:
        return ""
    if not name:
        return "it is empty"
    if len(name.encode("utf-8", "surrogateescape")) > most:
        return f"it is longer than {most} bytes"
    if name[0] in ".- " or name[-1] == " ":
        return "it begins with a dot, a dash or a space, or ends with a space"
    return _letters_problem(name)


def _letters_problem(name: str) -> str:
    for sign in name:
        if sign not in _MARKS and unicodedata.category(sign)[0] not in _CATEGORIES:
            return f"it has the character {sign!a} in it"
    if not unicodedata.is_normalized("NFC", name):
        return "its accents are written apart from their letters (it is not in form NFC)"
    return ""


def _path_problem(path: str) -> str:
    if not path:
        return "it is empty"
    if len(path.encode("utf-8", "surrogatepass")) > MOST_PATH_BYTES:
        return f"it is longer than {MOST_PATH_BYTES} bytes"
    if not path.isprintable():
        return "it has a control character in it"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, . or .. in it"
    if any(len(part.encode()) > 255 for part in parts):
        return "a part of it is longer than 255 bytes"
    return ""


def sanitise(text: str, most: int = MOST_NAME_BYTES) -> str:
    """The nearest ASCII name that may be part of a path; "task" where nothing is left."""
    kept = re.sub(r"[^A-Za-z0-9._+=,@-]+", "_", text)[:most].strip("._-")
    return kept or "task"


def escape(text: str, most: int = 0) -> str:
    r"""`text` on one line, with control, direction and invalid characters as \x1b or \u202e.

    With `most`, no more characters than that.
    """
    if most and len(text) > most:
        text = text[: most - 3] + "..."
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
