"""The verb `boinc`: accounts of an agent's clients, and the keys of its server. Needs no daemon.

What it writes belongs to the spool's owner, also when root runs it: the daemon must read it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.accounts import Account
from spoolmw.config import AgentConfig
from spoolmw.ctl.boinckeys import keys_export, keys_import
from spoolmw.ctl.boincsite import AGENT, as_owner, section_of
from spoolmw.ctl.screen import Column
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import Verb, shared_options, verb
from spoolmw.ctl.words import duration
from spoolmw.errors import SpoolmwError
from spoolmw.spooldir.publish import publish

ACCOUNTS = (Column("ACCOUNT"), Column("OWNER"), Column("MADE"), Column("SAYS"))
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
FILE = click.option(
    "--file",
    "target",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write what attaches a client, a file account_*.xml, to PATH or into the folder PATH.",
)


class Group(click.Group, Verb):
    """One with verbs of its own."""


@click.group(
    "boinc",
    cls=Group,
    examples="""
    spoolmw-ctl boinc account add lab-room-3
    spoolmw-ctl boinc account ls
    spoolmw-ctl boinc keys export /root/grid-keys.json
    """,
)
@shared_options
def boinc_verb() -> None:
    """Say whose BOINC clients may attach, and keep the keys of the server.

    Works on files of the spool, as its owner or root; the daemon follows by itself.
    """


@click.group(
    "account",
    cls=Group,
    examples="""
    spoolmw-ctl boinc account add ann --file /tmp
    spoolmw-ctl boinc account revoke ann
    """,
)
@shared_options
def account_group() -> None:
    """Make, list, show and revoke the accounts of clients.

    One account may have many hosts: they have one owner, and are revoked together. For
    `distinct = "owner"` an account is one voter.
    """


@verb(
    "add",
    examples="""
    spoolmw-ctl boinc account add ann
    spoolmw-ctl boinc account add lab-room-3 --owner lab --file /srv/www/private/
    spoolmw-ctl boinc account add ann --json | jq -r .one_liner
    """,
)
@click.argument("name")
@click.option("--owner", default="", help="Whose hosts they are; default: NAME.")
@FILE
@AGENT
def account_add(
    session: Session, *, name: str, owner: str, target: Path | None, agent: str
) -> None:
    """Make an account, and say how clients attach with its key.

    The key is shown now and by `show --key` only. Who has it can attach hosts of this owner.
    """
    section = section_of(session, agent)
    if owner and not _OWNER.fullmatch(owner):
        raise SpoolmwError(
            f"{owner!a} is no name of an owner.",
            why="It stands in records and tables, beside the owners of other machines.",
            fix="Take up to 64 letters, digits, dots, dashes and underscores.",
        )
    with as_owner(session.layout):
        made = accounts.add(_folder(session, section), name, owner)
    _tell(session, section, made, with_key=True, target=target)


@verb("ls", examples="spoolmw-ctl boinc account ls --json | jq -r .name")
@AGENT
def account_ls(session: Session, *, agent: str) -> None:
    """List the accounts, without their keys."""
    section = section_of(session, agent)
    with as_owner(session.layout):
        known = accounts.all_of(_folder(session, section))
    if session.screen.json:
        for each in known:
            session.screen.record(_public(section, each))
        return
    if not known:
        session.screen.say("There are none: spoolmw-ctl boinc account add NAME.")
        return
    now = time.time()
    rows = [
        (each.name, each.owner, _ago(each.created, now), _says(each, now)) for each in known
    ]
    session.screen.table(ACCOUNTS, rows)


@verb(
    "show",
    examples="""
    spoolmw-ctl boinc account show ann
    spoolmw-ctl boinc account show ann --key
    """,
)
@click.argument("name")
@click.option("--key", "with_key", is_flag=True, help="Show its key, and how clients attach.")
@FILE
@AGENT
def account_show(
    session: Session, *, name: str, with_key: bool, target: Path | None, agent: str
) -> None:
    """Show one account."""
    section = section_of(session, agent)
    with as_owner(session.layout):
        known = accounts.get(_folder(session, section), name)
    _tell(session, section, known, with_key=with_key, target=target)


@verb("revoke", examples="spoolmw-ctl boinc account revoke ann")
@click.argument("name")
@AGENT
def account_revoke(session: Session, *, name: str, agent: str) -> None:
    """Make an account's key worthless: its hosts get nothing more, what they have is lost.

    It cannot be undone, and its name is not given again.
    """
    section = section_of(session, agent)
    with as_owner(session.layout):
        known = accounts.revoke(_folder(session, section), name)
    _tell(session, section, known, with_key=False, target=None)


def _folder(session: Session, section: AgentConfig) -> Path:
    return accounts.folder_of(session.layout.root, section.name)


# -- showing


def _tell(
    session: Session,
    section: AgentConfig,
    account: Account,
    *,
    with_key: bool,
    target: Path | None,
) -> None:
    url = section.boinc.url
    told = _public(section, account)
    if with_key:
        told |= _ways(url, account.key)
    if target is not None:
        told["file"] = str(_write(target, url, account.key))
    if session.screen.json:
        session.screen.record(told)
        return
    now = time.time()
    session.screen.facts(
        [
            ("account", account.name),
            ("owner", account.owner),
            ("agent", section.name),
            ("made", _ago(account.created, now)),
            ("says", _says(account, now)),
            ("url", url),
            ("key", str(told.get("key", ""))),
            ("file", str(told.get("file", ""))),
        ]
    )
    if with_key:
        _tell_ways(session, told)


def _tell_ways(session: Session, told: Mapping[str, Any]) -> None:
    """Commands, each on a line of its own that can be taken as it is."""
    session.screen.say("On a machine whose BOINC client runs:")
    session.screen.line(str(told["boinccmd"]))
    session.screen.say(
        "As root on each of many Debian machines, by ssh or whatever sets them up:"
    )
    session.screen.line(str(told["one_liner"]))


def _ways(url: str, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "boinccmd": f"boinccmd --project_attach {url} {key}",
        "one_liner": accounts.one_liner(url, key),
        "file_name": accounts.file_name(url),
        "account_xml": accounts.account_xml(url, key),
    }


def _public(section: AgentConfig, account: Account) -> dict[str, Any]:
    told = asdict(account)
    del told["key"]
    return {"agent": section.name, **told, "url": section.boinc.url}


def _says(account: Account, now: float) -> str:
    return f"revoked {_ago(account.revoked, now)}" if account.revoked else ""


def _ago(at: float, now: float) -> str:
    return f"{duration(now - at)} ago" if now - at >= 1 else "just now"


def _write(target: Path, url: str, key: str) -> Path:
    """Write the file that attaches a client which finds it; what is there already stays."""
    path = target / accounts.file_name(url) if target.is_dir() else target
    if os.path.lexists(path):
        raise SpoolmwError(
            f"{path} exists already.",
            why="Nothing is ever overwritten.",
            fix="Name another file, or move it away.",
        )
    try:
        publish(accounts.account_xml(url, key).encode(), path, tmp=path.parent, mode=0o600)
    except OSError as error:
        raise SpoolmwError(
            f"{path} cannot be written: {error.strerror}",
            fix="The account is there: spoolmw-ctl boinc account show NAME --file PATH",
        ) from error
    return path


for _command in (account_add, account_ls, account_show, account_revoke):
    account_group.add_command(_command)


@click.group("keys", cls=Group, examples="spoolmw-ctl boinc keys export /root/grid-keys.json")
@shared_options
def keys_group() -> None:
    """Keep the keys of an agent's server elsewhere, and bring them back.

    Clients know the server by them: without them each one must detach and attach again.
    """


for _command in (keys_export, keys_import):
    keys_group.add_command(_command)
for _group in (account_group, keys_group):
    boinc_verb.add_command(_group)
