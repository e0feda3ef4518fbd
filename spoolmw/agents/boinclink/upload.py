"""What clients say to the upload handler, before the bytes of a file, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MOST_HEAD_BYTES = 16 << 10  #: a client's buffer for it has 8 KiB


class Status(IntEnum):
    """What a client makes of its upload."""

    DONE = 0
    LATER = 1  #: tries again, after minutes
    NEVER = -1  #: gives the result up


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeQuery:
    """How much of this file is there already?"""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The bytes of a file from `offset` on follow the head."""

    name: str
    token: str
    max_nbytes: int
    nbytes: int  #: of the whole file
    md5: str  #: "" where none was told
    offset: int
    head_bytes: int  #: where the file's bytes begin in what was parsed


def parse(head: bytes) -> SizeQuery | Upload | None:
    """What a request with these first bytes wants; None: nothing that is known. Never raises."""
    raise NotImplementedError


def is_whole(head: bytes) -> bool:
    """Whether `head` reaches as far as `parse` needs it."""
    raise NotImplementedError


def answer(status: Status, message: str = "", *, file_size: int | None = None) -> bytes:
    """The body of an answer."""
    raise NotImplementedError
