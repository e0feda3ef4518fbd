"""Tells without decoding a value which staged results are equal, where that can be told.

Equal values have equal bytes in the `safe` codec. Of writers that are trusted the digests in the
headers say it all. Of others nothing is believed: their bytes are counted and digested here, and
where these are not the same somebody has to look closer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from spoolmw.errors import BadResultFile
from spoolmw.format import resultfile
from spoolmw.model.replica import Class

MOST_BYTES = 256 << 10  #: of a result that is digested here, in the daemon's own time


def classes(staged: Mapping[int, str]) -> tuple[Class, ...] | None:
    """The classes of these results (paths by replica); None where somebody has to look closer."""
    found: dict[str, list[int]] = {}
    for replica in sorted(staged):
        try:
            header = resultfile.read_head(staged[replica])
        except (OSError, BadResultFile):
            return None
        digest = header.get("sha256")
        if header.get("outcome") != "success" or header.get("codec") != "safe" or not digest:
            return None
        found.setdefault(str(digest), []).append(replica)
    return tuple(Class(tuple(members), members[0]) for members in found.values())


def one_class(staged: Mapping[int, str]) -> tuple[Class, ...] | None:
    """The class of these results (paths by replica) if all are the same, byte by byte; else None."""
    digests = {_digest(path) for path in staged.values()}
    if len(digests) != 1 or None in digests:
        return None
    members = tuple(sorted(staged))
    return (Class(members, members[0]),)


def _digest(path: str) -> str | None:
    """The digest of a whole value in the `safe` codec; None for anything else."""
    try:
        if os.stat(path).st_size > MOST_BYTES or os.path.isdir(f"{path}.files"):
            return None
        result = resultfile.read(path)
    except (OSError, BadResultFile):
        return None
    if result.header.get("outcome") != "success" or result.header.get("codec") != "safe":
        return None
    return hashlib.sha256(result.value).hexdigest()
