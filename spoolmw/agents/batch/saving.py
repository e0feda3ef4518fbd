"""Brings the newest checkpoint of a batch job into the spool, from a host that nobody trusts.

What the batch system kept of the job's `checkpoints/` is only read. A damaged one is passed over:
the one before it may be whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spoolmw.agents.batch.inside import IN_EACH_OTHERS_WAY, Inside, pour
from spoolmw.agents.carrier import claims, taking
from spoolmw.agents.carrier.book import Given
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner import checkpoint

_MOST_MANIFEST_BYTES = 64 << 20
_MOST_SAVED = 1000  #: entries in a replica's folder that are looked at


def bring(
    folder: Path, root: Path, given: Given, beat: Callable[[], None] | None = None
) -> dict[str, Any] | None:
    """Bring the newest whole checkpoint in a job's `checkpoints/` into the spool.

    Returns it as an entry of `checkpointed` for `Ledger.news`; None when there is no new one.
    Raises OSError when the spool cannot take it. `beat` is called now and then meanwhile.
    """
    task, replica, number = given.attempt.split(".")
    owner = checkpoint.Owner(str(root / "checkpoints"), task, int(replica))
    try:
        with Inside(folder) as inside:
            names = inside.folders(f"{task}/{int(replica)}", most=_MOST_SAVED)
            for sequence in _sequences(names, number):
                if os.path.isdir(f"{owner.folder}/{number}-{sequence}"):
                    return None
                with contextlib.suppress(Garbage, checkpoint.Damaged):
                    return _take(
                        inside, (f"{task}/{int(replica)}", sequence), root, given, beat
                    )
    except Garbage:
        pass  # there is no such folder
    return None


def _take(
    inside: Inside,
    which: tuple[str, int],
    root: Path,
    given: Given,
    beat: Callable[[], None] | None,
) -> dict[str, Any]:
    """Copy one into the spool, where it is verified before it gets its name.

    Raises Garbage, checkpoint.Damaged.
    """
    replica, sequence = which
    place = f"{replica}/{given.attempt.rpartition('.')[2]}-{sequence}"
    raw = inside.whole(f"{place}/{checkpoint.MANIFEST}", most=_MOST_MANIFEST_BYTES)
    try:
        manifest = checkpoint.parsed(raw)
    except (TypeError, RecursionError) as error:
        raise Garbage(str(error)) from None
    listed = [[each["name"], each["bytes"]] for each in manifest["files"]]
    listed.append([checkpoint.MANIFEST, len(raw)])
    told = {"files": listed, "bytes": _total(listed)}
    entry = {
        "attempt": given.attempt,
        "sequence": sequence,
        "bytes": _total(listed[:-1]),
        "saved_at": manifest["saved_at"],
    }
    (entry,) = claims.entries("checkpointed", {"attempts": [entry]})
    files = claims.files(told, width=2)
    saved = taking.Saved(f"{root}/checkpoints", entry, files, True)  # noqa: FBT003
    try:
        for name, size in files:
            with inside.file(f"{place}/{name}", most=size) as file:
                pour(file, saved, size, beat)
        saved.finish()
    except BaseException as error:
        saved.abandon()
        if isinstance(error, IN_EACH_OTHERS_WAY):
            raise Garbage(f"files in each other's way: {error.strerror}") from None
        raise
    return entry


def _sequences(names: list[str], number: str) -> list[int]:
    """The sequence numbers of an attempt's checkpoints, the newest first."""
    found = (name.partition("-") for name in names)
    mine = [rest for attempt, _, rest in found if attempt == number and len(rest) < 10]
    return sorted(
        (int(each) for each in mine if each.isascii() and each.isdigit()), reverse=True
    )


def _total(files: list[list[Any]]) -> int:
    return sum(each[-1] for each in files if type(each[-1]) is int)
