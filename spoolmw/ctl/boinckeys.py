"""The verbs `boinc keys export` and `import`: what makes an agent's server the one that clients know.

It is the key that programs are signed with (clients keep the public half of the first one they
see) and the secret of the tokens with which results are uploaded.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click

from spoolmw.agents.boinclink.brief import home_of
from spoolmw.agents.boinclink.signing import BadKey, KeyPair
from spoolmw.ctl.boincsite import AGENT, as_owner, section_of
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.errors import SpoolmwError
from spoolmw.spooldir.publish import publish

FORMAT = "spoolmw boinc keys 1"
SECRET = "upload_secret"  # noqa: S105  a file's name, and a key's in the export
_MOST_BYTES = 64 << 10
_SECRET = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadKeys(SpoolmwError):
    """A file has no keys, or they cannot be put where others are."""


@verb("export", examples="spoolmw-ctl boinc keys export /root/grid-keys.json")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@AGENT
def keys_export(session: Session, *, file: Path, agent: str) -> None:
    """Write the keys of an agent's server to FILE, for a place outside of this machine.

    Who has the file can have clients run programs that the daemon never saw.
    """
    section = section_of(session, agent)
    folder = _folder(session, section.name)
    with as_owner(session.layout):
        pair = _pair_in(folder)
        secret = _secret_in(folder)
    if pair is None or secret is None:
        raise BadKeys(
            f"The agent {section.name} has no keys yet.",
            why=f"They are made when its server starts first, in {folder}.",
            fix="Start the daemon, then export them.",
        )
    told = {"format": FORMAT, "agent": section.name, "private": pair.private_text()}
    data = json.dumps({**told, SECRET: secret}, indent=1).encode() + b"\n"
    if os.path.lexists(file):
        raise BadKeys(
            f"{file} exists already.", why="Nothing is ever overwritten.", fix="Name another."
        )
    publish(data, file, tmp=file.parent, mode=0o600)
    _tell(
        session, {"agent": section.name, "file": str(file)}, f"Written to {file}: keep it well."
    )


@verb(
    "import",
    examples="""
    spoolmw-ctl boinc keys import /root/grid-keys.json
    spoolmw-ctl boinc keys import --replace /root/grid-keys.json
    """,
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--replace", is_flag=True, help="Though there are others: their clients are lost."
)
@AGENT
def keys_import(session: Session, *, file: Path, replace: bool, agent: str) -> None:
    """Put the keys in FILE where an agent's server looks for them.

    Before the daemon is started there first: a server makes keys of its own where it finds none.
    """
    section = section_of(session, agent)
    pair, secret = _read(file)
    folder = _folder(session, section.name)
    with as_owner(session.layout):
        there = None if replace else _pair_in(folder)
        if there not in (None, pair):
            raise BadKeys(
                f"The agent {section.name} has other keys.",
                why="Clients that know its server by them would refuse what these sign.",
                fix="With --replace they go, and each of those clients must detach and attach.",
            )
        _make(folder, session.layout.root)
        publish(secret.encode(), folder / SECRET, tmp=folder, mode=0o600)
        pair.save(folder)
    told = {"agent": section.name, "folder": str(folder)}
    _tell(
        session, told, f"They are in {folder}; a server that runs takes them at its next start."
    )


def _make(folder: Path, root: Path) -> None:
    """Folders that only their owner looks into, as far as they are missing."""
    for each in reversed([folder, *folder.parents]):
        if each.is_relative_to(root) and not each.exists():
            each.mkdir(mode=0o700)


def _read(file: Path) -> tuple[KeyPair, str]:
    """Key and secret of an export. Raises BadKeys."""
    try:
        with open(file, "rb") as source:
            told: Any = json.loads(source.read(_MOST_BYTES))
        secret = told[SECRET]
        if told["format"] != FORMAT or not _SECRET.fullmatch(secret):
            raise ValueError("it is no export of keys, or of another version")
        return KeyPair.parse(told["private"]), secret
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise BadKeys(
            f"{file} has no keys.",
            why=str(error),
            fix="Name a file that `spoolmw-ctl boinc keys export` wrote.",
        ) from None


def _folder(session: Session, name: str) -> Path:
    return home_of(session.layout.root, name) / "keys"


def _pair_in(folder: Path) -> KeyPair | None:
    try:
        return KeyPair.load(folder)
    except FileNotFoundError:
        return None
    except BadKey as error:
        raise BadKeys(
            f"The key in {folder} is damaged.",
            why=str(error),
            fix="Bring it back from an export: spoolmw-ctl boinc keys import --replace FILE",
        ) from None


def _secret_in(folder: Path) -> str | None:
    try:
        text = (folder / SECRET).read_text().strip()
    except FileNotFoundError:
        return None
    return text if _SECRET.fullmatch(text) else None


def _tell(session: Session, record: dict[str, str], text: str) -> None:
    if session.screen.json:
        session.screen.record(record)
    else:
        session.screen.say(text)
