"""What is kept of each seat on disk: the digests of its pilot's token and secret. Never those themselves.

Rule 1: a seat's record stands before its pilot is submitted, and the secret's digest before the
pilot is bidden welcome. So whoever starts anew knows every pilot that may call.
Rule 2: the token stands in the order alone, which goes once the pilot has called.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spoolmw.runner.calling import digest_of
from spoolmw.spooldir.publish import publish

_NAME = re.compile(r"seat-(\d+)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The pilot of one seat."""

    seat: int
    token: str  #: its digest
    secret: str = ""  #: its digest; empty: it has not called yet
    called_at: float = 0.0  #: the wall clock at its first contact

    @property
    def digest(self) -> str:
        """The pilot's public name."""
        return self.token[:32]


class Records:
    """The files in the section's private folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._orders = folder / "orders"
        self._tmp = folder / "tmp"
        for each in (self._orders, self._tmp):
            each.mkdir(mode=0o700, exist_ok=True)
        for half in self._tmp.iterdir():
            half.unlink()

    def all(self) -> dict[int, Record]:
        """The records that can be read; another is as good as none."""
        found = {}
        for path in self._folder.glob("seat-*.json"):
            try:
                record = Record(**json.loads(path.read_bytes()))
            except (OSError, TypeError, ValueError):
                continue
            name = _NAME.fullmatch(path.name)
            if name and int(name[1]) == record.seat and record.token:
                found[record.seat] = record
        return found

    def issue(self, seat: int, told: Mapping[str, Any]) -> tuple[Record, Path]:
        """A new pilot for a seat, and its order, which says `told` besides. Raises OSError."""
        token = secrets.token_hex(32)
        record = Record(seat=seat, token=digest_of(token))
        order = self.order_of(record)
        text = json.dumps({"pilot": 1, "seat": seat, "token": token, **told}, indent=1)
        publish(text.encode(), order, tmp=self._tmp, sync=False, mode=0o600)
        self._write(record)
        return record, order

    def called(self, record: Record, secret: str) -> Record:
        """Its pilot has called, with a secret of this digest. Raises OSError."""
        known = replace(record, secret=secret, called_at=time.time())
        self._write(known)
        self.order_of(record).unlink(missing_ok=True)
        return known

    def drop(self, record: Record) -> None:
        """Its pilot is gone: whoever calls with its token is nobody."""
        self._path(record.seat).unlink(missing_ok=True)
        self.order_of(record).unlink(missing_ok=True)

    def order_of(self, record: Record) -> Path:
        return self._orders / f"{record.seat}-{record.digest}.json"

    def tidy(self) -> None:
        """Remove orders that no record is of."""
        known = {self.order_of(each).name for each in self.all().values()}
        for name in set(os.listdir(self._orders)) - known:
            (self._orders / name).unlink(missing_ok=True)

    def _write(self, record: Record) -> None:
        data = json.dumps(asdict(record)).encode()
        publish(data, self._path(record.seat), tmp=self._tmp, mode=0o600)

    def _path(self, seat: int) -> Path:
        return self._folder / f"seat-{seat}.json"
