"""Takes what a host uploaded: unpacked, checked as what a batch job brought back, put into `stage/`.

The upload is only read: who dies meanwhile lands it again. The methods read and write the disk.
"""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolmw.agents.batch import collecting
from spoolmw.agents.boinclink import claimed
from spoolmw.agents.carrier import taking
from spoolmw.agents.carrier.book import Given
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner import onefile, outputs, parcel, sandbox

_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
_INTERPRETER = "interpreter"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What an upload held: a report for the ledger, or why there is none."""

    entry: Mapping[str, Any] | None = None  #: of `ended`, without times and places of ours
    news: tuple[tuple[str, list[dict[str, Any]]], ...] = ()
    lost: Mapping[str, Any] | None = None  #: cause, message, counts
    is_hosts: bool = False  #: the host shall get less
    lacks_python: bool = False


class Lander:
    """Lands uploads of one agent."""

    def __init__(self, root: Path, scratch: Path, *, is_trusted: bool) -> None:
        self._root = root
        self._scratch = scratch
        self._is_trusted = is_trusted
        if scratch.exists():
            outputs.remove(str(scratch))
        scratch.mkdir(mode=0o700, parents=True)

    def land(self, given: Given, upload: Path, most_bytes: int) -> Landed:
        """Raises OSError where the spool's disk cannot take it: that is tried again."""
        if not upload.exists():
            return _garbage("it was reported, and nothing had been uploaded")
        folder = tempfile.mkdtemp(dir=self._scratch)
        try:
            onefile.unpack(str(upload), folder, most_bytes)
            return self._judge(Path(folder), given)
        except (Garbage, ValueError) as error:
            return _garbage(f"what its host sent is no result of it: {error}")
        except OSError as error:
            if error.errno in _DISKS:
                raise
            return _garbage(f"what its host sent cannot be taken: {error.strerror}")
        except Exception as error:  # noqa: BLE001  a stranger's file shall not end the link of all
            _log.exception("an upload of %s cannot be understood", given.attempt)
            return _garbage(f"what its host sent cannot be understood: {error}")
        finally:
            outputs.remove(folder)

    def _judge(self, out: Path, given: Given) -> Landed:
        if not (out / parcel.REPORT).exists():
            refused = collecting.refusal(out)
            if refused is None:
                return _garbage("its host sent neither a report nor a reason")
            text = "; ".join(each for each in (refused.what, refused.why, refused.fix) if each)
            return _refusal(text, lacks_python=refused.code == sandbox.NO_PYTHON)
        found = collecting.collect(out, self._root, given)
        try:
            self._check(given, found.report)
        except BaseException:
            self.discard(given.attempt)
            raise
        if found.report["cause"] == _INTERPRETER:  # another host may have it
            self.discard(given.attempt)
            return _refusal(found.report.get("message", ""), lacks_python=True)
        return Landed(
            entry=found.report,
            news=tuple(found.news),
            is_hosts=found.report["outcome"] == "lost",
        )

    def _check(self, given: Given, report: Mapping[str, Any]) -> None:
        """What was taken is as our runner writes it. Raises Garbage."""
        if report["outcome"] == "lost":
            return
        staged = self._root / "stage" / given.attempt
        if not report["body_bytes"]:
            raise Garbage("it ended, as its report says, and left no result")
        folder = staged.with_name(f"{given.attempt}.files")
        names = outputs.regular_files(str(folder)) if report.get("files") else None
        claimed.check(
            staged, report, names if names is None else set(names), is_trusted=self._is_trusted
        )

    def discard(self, attempt: str) -> None:
        """Nobody waits for what was landed."""
        taking.discard(f"{self._root}/stage/{attempt}")


def _garbage(message: str) -> Landed:
    lost = {"cause": "connection", "message": message, "counts": True}
    return Landed(lost=lost, is_hosts=True)


def _refusal(message: str, *, lacks_python: bool) -> Landed:
    cause = "interpreter" if lacks_python else "launch"
    lost = {"cause": cause, "message": message, "counts": False}
    return Landed(lost=lost, is_hosts=not lacks_python, lacks_python=lacks_python)
