"""What clients say to the upload handler, before the bytes of a file, and what it answers.

The head of an upload is text in lines; behind its `<data>` line come the bytes of the file, and
nothing ends them. No file that a client sends may make us read more than MOST_HEAD_BYTES of it as
a head.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from spoolmw.agents.boinclink.reply import fitting
from spoolmw.agents.boinclink.request import name_or_nothing

MOST_HEAD_BYTES = 16 << 10  #: a client's own buffer for it has 8 KiB
MOST_NBYTES = 1 << 53  #: a client counts in floating point
MOST_MESSAGE_BYTES = 200

_DATA = re.compile(rb"<data>\r?\n")
_QUERY_END = b"</data_server_request>"
_FIELD = re.compile(
    rb"<(get_file_size|name|xml_signature|max_nbytes|nbytes|md5_cksum|offset)>([^<]{0,5000}+)<",
    re.ASCII,
)
_NUMBER = re.compile(rb"\d{1,18}(?:\.\d{0,18})?")
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{1,128}", re.ASCII)


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
    token: str  #: "" where none was told, or none of ours
    max_nbytes: int
    nbytes: int  #: of the whole file; not less than `offset`
    md5: str  #: "" where none was told
    offset: int
    head_bytes: int  #: where the file's bytes begin in what was parsed


def is_whole(head: bytes) -> bool:
    """Whether `parse` needs no more than `head`: read on if not, up to MOST_HEAD_BYTES."""
    begun = head[:MOST_HEAD_BYTES]
    return _DATA.search(begun) is not None or _QUERY_END in begun


def parse(head: bytes) -> SizeQuery | Upload | None:
    """What a request with these first bytes wants; None: nothing that is known. Never raises."""
    data = _DATA.search(head[:MOST_HEAD_BYTES])
    told = _fields(head[: data.start()] if data else head[:MOST_HEAD_BYTES])
    if data is not None:
        return _upload(told, data.end())
    name = name_or_nothing(_text(told, b"get_file_size"))
    return SizeQuery(name=name) if name and _QUERY_END in head else None


def _fields(head: bytes) -> dict[bytes, bytes]:
    """The first of each."""
    return dict(reversed(_FIELD.findall(head)))


def _upload(told: dict[bytes, bytes], head_bytes: int) -> Upload | None:
    name = name_or_nothing(_text(told, b"name"))
    sizes = [_number(told.get(each)) for each in (b"max_nbytes", b"nbytes", b"offset")]
    max_nbytes, nbytes, offset = (-1 if each is None else each for each in sizes)
    if not name or min(max_nbytes, nbytes, offset) < 0 or offset > nbytes:
        return None
    return Upload(
        name=name,
        token=_like(_TOKEN, _text(told, b"xml_signature")),
        max_nbytes=max_nbytes,
        nbytes=nbytes,
        md5=_like(_MD5, _text(told, b"md5_cksum")),
        offset=offset,
        head_bytes=head_bytes,
    )


def _text(told: dict[bytes, bytes], tag: bytes) -> str:
    return told.get(tag, b"").decode("ascii", "replace").strip()


def _like(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""


def _number(raw: bytes | None) -> int | None:
    if raw is None or not _NUMBER.fullmatch(raw.strip()):
        return None
    value = int(raw.strip().partition(b".")[0])
    return value if value <= MOST_NBYTES else None


def answer(status: Status, message: str = "", *, file_size: int | None = None) -> bytes:
    """The body of an answer; `file_size` answers a SizeQuery."""
    lines = ["<data_server_reply>", f"    <status>{status:d}</status>"]
    if message:
        lines.append(f"    <message>{fitting(message, MOST_MESSAGE_BYTES)}</message>")
    if file_size is not None:
        lines.append(f"    <file_size>{file_size}</file_size>")
    return "\n".join([*lines, "</data_server_reply>", ""]).encode()
