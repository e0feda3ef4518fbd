"""The accounts of an agent of kind boinc: who may attach clients, and whose their hosts are.

One file for each, `agents/SECTION/boinc/accounts/NAME.json`, so that `spoolmw-ctl` needs no daemon
and a look with `ls` shows them. The key in it is all that a client shows: files are private.

Rule: an account is revoked, not removed, so that its name is not given to somebody else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from spoolmw.errors import SpoolmwError
from spoolmw.spooldir.publish import publish

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST_BYTES = 64 << 10  #: of one file
_SETTLED_NS = 1_000_000_000
_CLIENTS_FOLDER = "/var/lib/boinc-client"  #: Debian's


class BadAccount(SpoolmwError):
    """The administrator's mistake: there is no such account, or it cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody whose clients may attach."""

    name: str
    key: str  #: 32 hex digits; a client calls it authenticator, or account key
    owner: str  #: of the hosts, for redundancy by owners
    created: float  #: wall clock, seconds since 1970
    revoked: float = 0.0  #: likewise; 0: it is good


def folder_of(root: Path, section: str) -> Path:
    """Where the accounts of the agent `section` lie."""
    return root / "agents" / section / "boinc" / "accounts"


def add(folder: Path, name: str, owner: str = "") -> Account:
    """Make an account with a new key. Raises BadAccount, OSError."""
    if not _NAME.fullmatch(name):
        raise BadAccount(
            f"{name!a} is no name of an account",
            why="it is the name of a file, and is shown to people",
            fix="take up to 64 letters, digits, dots, dashes and underscores",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, name)
    if os.path.lexists(path):
        raise BadAccount(
            f"there is an account {name} already",
            why=f"{path} exists",
            fix="take another name; an account that was revoked keeps its own",
        )
    made = Account(
        name=name, key=secrets.token_hex(16), owner=owner or name, created=time.time()
    )
    _write(folder, made)
    return made


def revoke(folder: Path, name: str) -> Account:
    """From now on its key is no good, and what its hosts have is lost.

    Doing so again changes nothing. Raises BadAccount, OSError.
    """
    known = get(folder, name)
    if known.revoked:
        return known
    revoked = replace(known, revoked=time.time())
    _write(folder, revoked)
    return revoked


def get(folder: Path, name: str) -> Account:
    """The account of this name. Raises BadAccount."""
    found = _read(_path(folder, name)) if _NAME.fullmatch(name) else None
    if found is None:
        known = ", ".join(each.name for each in all_of(folder)) or "there are none"
        raise BadAccount(
            f"there is no account {name!a}",
            why=f"the accounts: {known}",
            fix="add it with spoolmw-ctl boinc account add",
        )
    return found


def all_of(folder: Path) -> list[Account]:
    """Every account that can be read, by name; another is as good as none."""
    try:
        names = sorted(each for each in os.listdir(folder) if each.endswith(".json"))
    except FileNotFoundError:
        return []
    found = (_read(folder / each) for each in names)
    return [each for each in found if each is not None]


class Accounts:
    """The accounts as the server knows them: read again when a file came, went or was replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = -1
        self._by_digest: dict[bytes, Account] = {}
        self._by_name: dict[str, Account] = {}
        self._revoked: set[str] = set()
        self._fresh: list[Account] = []

    def look(self) -> None:
        """See whether the folder changed. Costs one system call when it did not."""
        try:
            seen = os.stat(self._folder).st_mtime_ns
        except OSError:
            seen = 0
        if seen == self._seen:
            return
        # What was written in this very moment may have the same time as what comes next.
        is_settled = time.time_ns() - seen > _SETTLED_NS
        self._seen = seen if is_settled else -1
        accounts = all_of(self._folder)
        self._by_digest = {_digest(each.key): each for each in accounts}
        self._by_name = {each.name: each for each in accounts}
        gone = [each for each in accounts if each.revoked and each.name not in self._revoked]
        self._fresh += gone
        self._revoked.update(each.name for each in gone)

    def newly_revoked(self) -> list[Account]:
        """Those that were not when one asked before."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def of_key(self, key: str) -> Account | None:
        """Whose key this is, if it is good. How long that takes says nothing of the keys there are."""
        found = self._by_digest.get(_digest(key))
        return found if found is not None and not found.revoked else None

    def owner_of(self, name: str) -> str:
        """Whose hosts they are that belong to the account `name`."""
        found = self._by_name.get(name)
        return found.owner if found is not None else name


# -- what a client is given


def account_xml(url: str, key: str) -> str:
    """The file that attaches a client which finds it in its data folder at its start."""
    return (
        "<account>\n"
        f"    <master_url>{escape(url)}</master_url>\n"
        f"    <authenticator>{escape(key)}</authenticator>\n"
        "</account>\n"
    )


def file_name(url: str) -> str:
    """What that file is called."""
    place = url.partition("://")[2].rstrip("/")
    return f"account_{re.sub(r'[^A-Za-z0-9.-]', '_', place)}.xml"


def one_liner(url: str, key: str) -> str:
    """A line of shell that attaches a Debian machine, for its root."""
    path = f"{_CLIENTS_FOLDER}/{file_name(url)}"
    words = " ".join(shlex.quote(each) for each in account_xml(url, key).splitlines())
    return (
        f"printf '%s\\n' {words} | install -m 640 -o boinc -g boinc /dev/stdin {shlex.quote(path)}"
        " && systemctl restart boinc-client"
    )


# -- files


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _write(folder: Path, account: Account) -> None:
    data = json.dumps(asdict(account), indent=1).encode() + b"\n"
    publish(data, _path(folder, account.name), tmp=folder, mode=0o600)


def _read(path: Path) -> Account | None:
    try:
        with open(path, "rb") as file:
            told: Any = json.loads(file.read(_MOST_BYTES))
        found = Account(
            name=str(told["name"]),
            key=str(told["key"]),
            owner=str(told["owner"]),
            created=float(told["created"]),
            revoked=float(told.get("revoked", 0.0)),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    is_sound = found.name == path.stem and _KEY.fullmatch(found.key) and found.owner
    return found if is_sound else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
