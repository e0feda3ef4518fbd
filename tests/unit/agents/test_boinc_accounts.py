"""Accounts: made, shown, revoked; known to the server at once."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.accounts import Accounts, BadAccount

URL = "http://127.0.0.1:38123/grid/"


def test_an_account_has_a_key_and_an_owner_and_its_file_is_private(tmp_path: Path) -> None:
    made = accounts.add(tmp_path / "accounts", "room-7", "ann")
    assert len(made.key) == 32
    assert accounts.get(tmp_path / "accounts", "room-7") == made
    assert accounts.add(tmp_path / "accounts", "bob").owner == "bob"
    [path] = (tmp_path / "accounts").glob("room-7.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in accounts.all_of(tmp_path / "accounts")] == ["bob", "room-7"]


def test_a_name_is_given_once_and_is_none_of_a_path(tmp_path: Path) -> None:
    accounts.add(tmp_path, "ann")
    for name in ("ann", "", "../x", "a/b", ".hidden", "a" * 65, "ä"):
        with pytest.raises(BadAccount):
            accounts.add(tmp_path, name)
    with pytest.raises(BadAccount, match="no account"):
        accounts.revoke(tmp_path, "../ann")


def test_the_server_knows_of_changes_at_once(tmp_path: Path) -> None:
    known = Accounts(tmp_path)
    known.look()
    made = accounts.add(tmp_path, "ann")
    assert known.of_key(made.key) is None
    known.look()
    assert known.of_key(made.key) == made
    assert known.of_key(made.key[:-1]) is None
    assert known.of_key("") is None
    assert known.owner_of("ann") == "ann"
    accounts.revoke(tmp_path, "ann")
    known.look()
    assert known.of_key(made.key) is None
    assert [each.name for each in known.newly_revoked()] == ["ann"]
    assert not known.newly_revoked()
    assert accounts.revoke(tmp_path, "ann").revoked <= time.time()


def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    made = accounts.add(tmp_path, "ann")
    for name, text in (("x", "{"), ("y", "[]"), ("z", '{"name": "z"}')):
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "copy.json").write_bytes((tmp_path / "ann.json").read_bytes())
    assert accounts.all_of(tmp_path) == [made]


def test_what_a_client_is_given(tmp_path: Path) -> None:
    assert accounts.file_name(URL) == "account_127.0.0.1_38123_grid.xml"
    text = accounts.account_xml(URL, "f" * 32)
    assert f"<master_url>{URL}</master_url>" in text
    line = accounts.one_liner(URL, "f" * 32)
    made = line.partition(" | install ")[0]
    done = subprocess.run(["sh", "-c", made], capture_output=True, text=True, check=True)
    assert done.stdout == text
