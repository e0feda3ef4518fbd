"""Who calls: which host a scheduler request is from, and what it says of itself.

Rule: one id, one data folder. A client that counts its calls from an earlier number than we know goes
on from a copy, and gets an id of its own: else two machines would have one vote.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import NamedTuple

from spoolmw.agents.boinclink.matching import PLATFORMS
from spoolmw.agents.boinclink.records import Host
from spoolmw.agents.boinclink.request import Asked, HostFacts

_MOST_HOSTS = 100_000
_MOST_OF_AN_ACCOUNT = 20_000
_STRANGE = re.compile(r"[^A-Za-z0-9.-]+")
_MOST_CORES = 4096
_REMEMBERED_S = 7 * 86400.0  #: that a host has no fitting Python
_ANEW = 1_600_000_000  #: seconds; where hosts are counted from when their table was lost


class TooMany(Exception):
    """No more hosts are taken; the text says why."""


class Caller(NamedTuple):
    """Who calls."""

    host: Host
    is_new: bool  #: its id has to be told
    is_changed: bool  #: what is known of it must be written before it is told anything


class Callers:
    """All hosts, by what they can be recognised by."""

    def __init__(self, hosts: Iterable[Host], *, is_anew: bool = False) -> None:
        """`is_anew`: the table was lost, so that ids may be in use that are not in it."""
        self.hosts = {each.id: each for each in hosts}
        self._by_cpid = {(each.account, each.cpid): each for each in self.hosts.values()}
        self._of_account: dict[str, int] = {}
        for each in self.hosts.values():
            self._count(each.account)
        first = int(time.time()) - _ANEW if is_anew else 0
        self._last = max([*self.hosts, first])

    def whose(self, asked: Asked, account: str, now: float) -> Caller:
        """The host that asks, for the owner of this account. Raises TooMany."""
        host = self._known(asked, account)
        is_new = host is None or host.id != asked.host_id
        if host is None:
            host = self._make(asked, account, now)
        is_changed = self._note(host, asked, is_new=is_new) or is_new
        host.seen = now
        if host.learned and now - host.learned > _REMEMBERED_S:
            host.needs_bundle, host.lacks, host.learned = False, (), 0.0
        return Caller(host, is_new, is_changed)

    def _known(self, asked: Asked, account: str) -> Host | None:
        if asked.host_id:
            host = self.hosts.get(asked.host_id)
            if host is None or host.account != account or asked.seqno < host.seqno:
                return None
            return host
        # It attached again, or never got the answer to its first call.
        host = self._by_cpid.get((account, asked.cpid)) if asked.cpid else None
        if host is not None and _is_alike(host, asked.host):
            return host
        return None

    def _make(self, asked: Asked, account: str, now: float) -> Host:
        if len(self.hosts) >= _MOST_HOSTS:
            raise TooMany("this project has as many hosts as it can have")
        if self._of_account.get(account, 0) >= _MOST_OF_AN_ACCOUNT:
            raise TooMany("this account has as many hosts as it can have")
        self._last += 1
        host = Host(self._last, account, asked.cpid, now)
        self.hosts[host.id] = host
        self._count(account)
        return host

    def _note(self, host: Host, asked: Asked, *, is_new: bool) -> bool:
        """What it says of itself; returns whether that is news."""
        before = _facts(host)
        host.seqno = 0 if is_new else asked.seqno
        if asked.cpid:
            host.cpid = asked.cpid
        self._by_cpid[host.account, host.cpid] = host
        said = asked.host
        host.name = _STRANGE.sub("-", said.name).strip("-.")[:40]
        known = (each for each in asked.platforms if each in PLATFORMS)
        host.client_platform = next(known, asked.platforms[0] if asked.platforms else "")
        host.platform = PLATFORMS.get(host.client_platform, "")
        host.os = said.os
        host.cores = min(max(1, said.cores), _MOST_CORES)
        host.memory_bytes = said.memory_bytes
        host.disk_bytes = said.disk_free_bytes
        host.flops = said.flops
        return before != _facts(host)

    def _count(self, account: str) -> None:
        self._of_account[account] = self._of_account.get(account, 0) + 1


def _facts(host: Host) -> tuple[object, ...]:
    """What is worth writing at once; free disk and speed change all the time."""
    return (host.cpid, host.name, host.client_platform, host.os, host.cores, host.memory_bytes)


def _is_alike(host: Host, said: HostFacts) -> bool:
    """Whether it can be the same machine: images of one disk have the same cpid."""
    name = _STRANGE.sub("-", said.name).strip("-.")[:40]
    return (host.name, host.cores) == (name, min(max(1, said.cores), _MOST_CORES))
