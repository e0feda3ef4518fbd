"""Keeps the server free for those who behave: who may hold a connection, and for how long.

Who connects and says nothing, or says it byte by byte, is hung up on; so is whoever holds too many
connections at one time. What comes through a proxy of this machine is counted by the proxy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from typing import Any

from aiohttp import web, web_protocol

_MOST = 4000  #: connections
_MOST_OF_ONE = 400  #: of one address: a lab may sit behind one
_QUIET_S = 20.0  #: between connecting, or an answer, and the next whole head
_LOOKS = 10  #: in that time
_STRIKES = 30.0  #: bad keys that an address may show in a row
_FORGIVEN_PER_S = 0.5
_MOST_KNOWN = 10_000  #: addresses with strikes


class Crowd:
    """All that are connected."""

    def __init__(
        self, most: int = _MOST, most_of_one: int = _MOST_OF_ONE, quiet_s: float = _QUIET_S
    ) -> None:
        """So many connections in all, and of one address; each may be quiet for so long."""
        self._most = most
        self._most_of_one = most_of_one
        self._quiet_s = quiet_s
        self._all: set[Line] = set()
        self._of: Counter[str] = Counter()
        self._strikes: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enters(self, line: Line, address: str) -> bool:
        """Whether there is room for one more."""
        if len(self._all) >= self._most:
            return False
        if self._of[address] >= self._most_of_one and not is_here(address):
            return False
        self._all.add(line)
        self._of[address] += 1
        return True

    def leaves(self, line: Line, address: str) -> None:
        if line not in self._all:
            return
        self._all.discard(line)
        self._of[address] -= 1
        if self._of[address] <= 0:
            del self._of[address]

    async def watch(self) -> None:
        """Hang up on who is quiet, as long as this process lives."""
        while True:
            await asyncio.sleep(self._quiet_s / _LOOKS)
            before = time.monotonic() - self._quiet_s
            for each in [each for each in self._all if each.is_quiet_since(before)]:
                each.hang_up()

    def is_a_nuisance(self, address: str) -> bool:
        """Whether it has shown too many bad keys lately; others there may have good ones."""
        return self._strikes_of(address) > _STRIKES

    def strike(self, address: str) -> None:
        """It showed a bad key."""
        if len(self._strikes) >= _MOST_KNOWN:
            self._strikes.clear()
        self._strikes[address] = (self._strikes_of(address) + 1.0, time.monotonic())

    def _strikes_of(self, address: str) -> float:
        count, at = self._strikes.get(address, (0.0, 0.0))
        return max(0.0, count - (time.monotonic() - at) * _FORGIVEN_PER_S)


class Line(web_protocol.RequestHandler):
    """One connection."""

    __slots__ = ("_address", "_crowd", "_served", "_since")

    def __init__(self, crowd: Crowd, server: web.Server, **more: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **more)
        self._crowd = crowd
        self._address = ""
        self._since = time.monotonic()
        self._served = 0  #: requests that are being answered now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = address_of(transport.get_extra_info("peername"))
        super().connection_made(transport)
        if not self._crowd.enters(self, self._address):
            self.hang_up()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.leaves(self, self._address)
        super().connection_lost(exc)

    def is_quiet_since(self, before: float) -> bool:
        return not self._served and self._since < before

    def hang_up(self) -> None:
        transport = self.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def __enter__(self) -> None:
        """A request is whole up to its body, and is being answered."""
        self._served += 1

    def __exit__(self, *_: object) -> None:
        self._served -= 1
        self._since = time.monotonic()


def address_of(peer: Any) -> str:
    """Of what a socket calls its other side; networks of IPv6 count as one address."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


def is_here(address: str) -> bool:
    """Whether it is this machine's own: a proxy, most likely."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def caller_of(request: web.BaseRequest) -> str:
    """Who asks; a proxy of this machine says for whom it does."""
    transport = request.transport
    address = address_of(transport.get_extra_info("peername") if transport else None)
    told = request.headers.get("X-Forwarded-For", "")
    if told and is_here(address):
        return address_of((told.rpartition(",")[2].strip(),)) or address
    return address
