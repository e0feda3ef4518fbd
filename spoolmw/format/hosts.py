"""Names of hosts as the configuration writes them: `pc[01-40].lab`, `ann@pc03:2222`, a file of them.

A range in brackets keeps its zeros: `pc[08-11]` is pc08, pc09, pc10, pc11; `[a,b,7-9]` lists.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spoolmw.format.keyed import Unfit
from spoolmw.format.values import list_of, text

MOST_HOSTS = 4096  #: of one agent
_PART = re.compile(r"\[([^\[\]]*)\]", re.ASCII)
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_ADDRESS6 = re.compile(r"[0-9A-Fa-f:]{2,45}(?:%[A-Za-z0-9]{1,15})?", re.ASCII)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)


class BadHost(ValueError):
    """A name of a host that cannot be one; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class HostName:
    """One host as it was written. Port 0 and user "": as the ssh configuration says."""

    name: str
    port: int = 0
    user: str = ""

    @property
    def label(self) -> str:
        """What the agent for it is called behind its section's name."""
        plain = self.name.replace(":", "-").replace("%", "-")
        return f"{plain}-{self.port}" if self.port else plain

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        at = f"{self.user}@" if self.user else ""
        return f"{at}{name}:{self.port}" if self.port else f"{at}{name}"


def expand(patterns: Iterable[str]) -> list[HostName]:
    """All hosts that the patterns name, in order. Raises BadHost, also for one named twice."""
    found: dict[str, HostName] = {}
    for pattern in patterns:
        for word in _spread(pattern):
            host = parse(word)
            if host.label in found:
                raise BadHost(f"{word} is there twice")
            found[host.label] = host
            if len(found) > MOST_HOSTS:
                raise BadHost(f"these are more than {MOST_HOSTS} hosts")
    return list(found.values())


def from_file(text: str) -> Iterator[str]:
    """The patterns in a file of hosts: one or more words a line, `#` begins a comment."""
    for line in text.splitlines():
        yield from line.partition("#")[0].split()


def host_patterns(raw: object) -> object:
    """A configuration's list of patterns. Raises Unfit."""
    words = list_of(text(most=1000), hint='write hosts = ["pc01", "pc[02-40].lab"]')(raw)
    assert isinstance(words, tuple)
    try:
        expand(words)
    except BadHost as problem:
        raise Unfit(str(problem), 'such as "pc01", "pc[02-40].lab", "ann@pc03:2222"') from None
    return words


def parse(word: str) -> HostName:
    """One host: `[USER@]NAME[:PORT]`; an IPv6 address stands in brackets. Raises BadHost."""
    user, at, rest = word.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise BadHost(f"{word!r} has no user's name before the @")
    if rest.startswith("["):
        name, bracket, tail = rest[1:].partition("]")
        if not bracket or not _ADDRESS6.fullmatch(name) or (tail and tail[0] != ":"):
            raise BadHost(f"{word!r} is no IPv6 address in brackets")
        colon, digits = tail[:1], tail[1:]
    else:
        name, colon, digits = rest.partition(":")
        if not _NAME.fullmatch(name):
            raise BadHost(f"{word!r} is no name of a host")
    return HostName(name, _port(word, digits) if colon else 0, user)


def _port(word: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits[:6]) < 65536:
        raise BadHost(f"{word!r} has no port from 1 to 65535 behind the colon")
    return int(digits)


def _spread(pattern: str) -> Iterator[str]:
    """The words that a pattern with ranges in brackets stands for."""
    choices: list[list[str]] = []
    at = 0
    for part in _PART.finditer(pattern):
        choices.append([pattern[at : part.start()]])
        is_address = ":" in part[1]
        choices.append([part[0]] if is_address else list(_choices(pattern, part[1])))
        at = part.end()
    choices.append([pattern[at:]])
    total = 1
    for each in choices:
        total *= len(each)
    if total > MOST_HOSTS:
        raise BadHost(f"{pattern!r} stands for more than {MOST_HOSTS} hosts")
    for words in itertools.product(*choices):
        yield "".join(words)


def _choices(pattern: str, inside: str) -> Iterator[str]:
    for word in inside.split(","):
        numbers = _RANGE.fullmatch(word)
        if numbers is None:
            if not _WORD.fullmatch(word):
                raise BadHost(f"{pattern!r}: [{inside}] is no range such as [01-40] or [a,b]")
            yield word
            continue
        first, last = numbers.groups()
        if int(last) < int(first) or int(last) - int(first) >= MOST_HOSTS:
            raise BadHost(f"{pattern!r}: [{inside}] runs backwards, or too far")
        for number in range(int(first), int(last) + 1):
            yield f"{number:0{len(first)}d}"
