"""HTTP as libcurl in BOINC's client speaks it, in few lines, and cut off wherever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

AGENT = "BOINC client (x86_64-pc-linux-gnu 7.20.5)"


class Cut(Exception):
    """The connection ended before the answer was there."""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]  #: names in small letters
    body: bytes


_open: set[Wire] = set()


async def close_all() -> None:
    """Close what is still connected, in a loop that is about to end."""
    for each in list(_open):
        await each.close()


class Wire:
    """One client's connection, made when it is needed and kept while the server keeps it."""

    def __init__(self, tls: ssl.SSLContext | None = None, address: str = "") -> None:
        """`address` is where the requests come from, for a server that counts them."""
        self._tls = tls
        self._from = (address, 0) if address else None
        self._at = ("", 0)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        url: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        cut_after: int | None = None,
        deaf: bool = False,
    ) -> Answer:
        """GET, or POST where there is a body. Raises Cut, or OSError where nobody listens.

        `cut_after`: send so many bytes of the body only, and hang up. `deaf`: send all, hang up.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        at = (parts.hostname or "", parts.port or (443 if secure else 80))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = _head(path, parts.netloc, body, headers or {})
        sent = body or b""
        is_kept = self._streams is not None and self._at == at
        try:
            reader, writer = await self._connected(at, secure=secure)
            writer.write(head + (sent if cut_after is None else sent[:cut_after]))
            await writer.drain()
            if cut_after is not None or deaf:
                raise Cut("hung up")
            return await self._answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError, Cut) as error:
            await self.close()
            if is_kept and cut_after is None and not deaf:
                return await Wire.ask(self, url, body, headers=headers)  # it had gone meanwhile
            raise Cut(str(error) or type(error).__name__) from None
        except BaseException:
            await self.close()
            raise

    async def _connected(
        self, at: tuple[str, int], *, secure: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._at != at:
            await self.close()
            self._streams = await asyncio.open_connection(
                *at, ssl=self._tls if secure else None, local_addr=self._from, limit=1 << 20
            )
            self._at = at
            _open.add(self)
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = headers.get("content-length")
        body = await (reader.read(-1) if length is None else reader.readexactly(int(length)))
        if length is None or headers.get("connection", "").lower() == "close":
            await self.close()
        return Answer(status, headers, body)

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            _open.discard(self)
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


def _head(path: str, host: str, body: bytes | None, more: Mapping[str, str]) -> bytes:
    lines = [
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {AGENT}",
        "Accept: */*",
        "Accept-Encoding: deflate, gzip",
        "Accept-Language: en_US",
    ]
    if body is not None:
        lines += [
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        ]
    lines += [f"{name}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
