"""Puts refused files aside, each with a text beside it that says what, why and how to mend it.

Nothing is deleted. The text stands before the file does, so who sees the file finds the reason.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

from spoolmw.errors import SpoolmwError
from spoolmw.format.names import name_problem
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import publish, rename_noreplace

#: Longest name kept as it is, so that `.N.reason` still fits into 255 bytes.
_MOST_BYTES = 200


def reject(
    layout: Layout,
    path: Path | str,
    box: str,
    name: str,
    error: SpoolmwError,
    *,
    inputs: Path | None = None,
) -> Path | None:
    """Move the file at `path` to `rejected/[BOX/]NAME`, with `NAME.reason`; where it stands then.

    A name that is taken gets a number. `inputs`, a folder that came with it, goes along.
    None: the file was gone already.
    """
    folder = _folder(layout, box)
    base = safe_name(name)
    for target in itertools.chain([base], (f"{base}.{n}" for n in itertools.count(1))):
        place, reason = folder / target, folder / f"{target}.reason"
        if _is_taken(place, reason):
            continue
        publish(
            f"{error}\n".encode("utf-8", "backslashreplace"), reason, tmp=layout.tmp, sync=False
        )
        try:
            rename_noreplace(path, place)
        except FileExistsError:
            continue
        except FileNotFoundError:
            reason.unlink(missing_ok=True)
            return None
        if inputs is not None:
            _take_along(inputs, folder / f"{target}.in")
        return place
    raise AssertionError("unreachable: numbers do not end")


def _folder(layout: Layout, box: str) -> Path:
    """Where the refused files of a box go; where its name is that of a refused file, to BOX.N."""
    if not box:
        return layout.rejected
    base = safe_name(box)
    for name in itertools.chain([base], (f"{base}.{n}" for n in itertools.count(1))):
        folder = layout.rejected / name
        if not os.path.lexists(folder):
            folder.mkdir(mode=0o750)
        if folder.is_dir() and not folder.is_symlink():
            return folder
    raise AssertionError("unreachable: numbers do not end")


def _is_taken(place: Path, reason: Path) -> bool:
    """A refused file stands there, or one that is called as the reason would be."""
    return any(os.path.lexists(path) for path in (place, f"{place}.in", f"{reason}.reason"))


def _take_along(inputs: Path, target: Path) -> None:
    try:
        rename_noreplace(inputs, target)
    except (FileNotFoundError, PermissionError):
        return  # there is none; or it is another user's, who keeps it


def safe_name(name: str) -> str:
    """`name` if it is one of ours; else with every doubtful byte as %XX, and cut when too long."""
    if not name_problem(name):
        return name
    raw = os.fsencode(name)
    text = "".join(
        chr(b) if _is_plain(b, first=i == 0) else f"%{b:02X}" for i, b in enumerate(raw)
    )
    if len(text) <= _MOST_BYTES:
        return text
    return f"{text[:150]}-{hashlib.sha256(raw).hexdigest()[:16]}"


def _is_plain(byte: int, *, first: bool) -> bool:
    sign = chr(byte)
    if byte < 128 and sign.isalnum():
        return True
    return not first and sign in "._-+=,@ "
