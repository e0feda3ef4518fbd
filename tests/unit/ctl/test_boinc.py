"""`boinc account` and `boinc keys` work on the files of a spool; `doctor` looks at them."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.signing import KeyPair
from spoolmw.config import AgentConfig, Boinc, Config
from spoolmw.ctl import boinc_checks
from spoolmw.ctl.main import program
from spoolmw.spooldir.layout import Layout, prepare

URL = "http://spool.lab.example:8090/grid/"
NOBODY = 65534
SECTION = f'[agents.%s]\nkind = "boinc"\nlisten = "127.0.0.1:8090"\nurl = "{URL}"\n'


class Ctl:
    """The program, on a spool with one agent of kind boinc."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self.layout = layout
        self.config = folder / "spoolmw.toml"
        self.config.write_text(SECTION % "lab")

    def __call__(self, *words: object, code: int = 0) -> Result:
        given = ["--spool", str(self.layout.root), "--config", str(self.config)]
        done = CliRunner().invoke(program, [*given, "boinc", *map(str, words)])
        assert done.exit_code == code, done.output
        return done

    def told(self, *words: object) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*words, "--json").stdout.splitlines()]

    @property
    def home(self) -> Path:
        return self.layout.root / "agents" / "lab" / "boinc"


@pytest.fixture
def ctl(layout: Layout, tmp_path: Path) -> Ctl:
    return Ctl(layout, tmp_path)


def test_a_new_account_is_told_with_its_key_and_how_to_attach(ctl: Ctl) -> None:
    done = ctl("account", "add", "ann", "--owner", "lab")
    known = accounts.get(accounts.folder_of(ctl.layout.root, "lab"), "ann")
    assert known.owner == "lab"
    assert f"boinccmd --project_attach {URL} {known.key}\n" in done.stdout
    assert "systemctl restart boinc-client" in done.stdout
    assert ctl("account", "add", "ann", code=1).stderr.startswith("there is an account ann")


@pytest.mark.parametrize("owner", ["an owner", "x\ny", "a" * 65, "../ann"])
def test_an_owner_has_a_plain_name(ctl: Ctl, owner: str) -> None:
    assert (
        "no name of an owner" in ctl("account", "add", "ann", "--owner", owner, code=1).stderr
    )
    assert ctl.told("account", "ls") == []


def test_its_key_is_shown_again_to_who_asks_for_it_only(ctl: Ctl) -> None:
    [made] = ctl.told("account", "add", "ann")
    assert made["key"] not in ctl("account", "ls").stdout
    assert made["key"] not in ctl("account", "show", "ann").stdout
    assert made["key"] in ctl("account", "show", "ann", "--key").stdout
    assert "key" not in ctl.told("account", "ls")[0]


def test_a_file_attaches_a_client_that_finds_it(ctl: Ctl, tmp_path: Path) -> None:
    [made] = ctl.told("account", "add", "ann", "--file", tmp_path)
    path = Path(made["file"])
    assert path == tmp_path / "account_spool.lab.example_8090_grid.xml"
    assert f"<authenticator>{made['key']}</authenticator>" in path.read_text()
    assert f"<master_url>{URL}</master_url>" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "exists already" in ctl("account", "show", "ann", "--file", path, code=1).stderr


def test_the_line_for_many_machines_writes_the_same_file(ctl: Ctl, tmp_path: Path) -> None:
    [made] = ctl.told("account", "add", "ann")
    words = made["one_liner"].replace("/var/lib/boinc-client", str(tmp_path))
    words = words.replace("-o boinc -g boinc ", "").partition(" && ")[0]
    subprocess.run(["sh", "-c", words], check=True)
    assert (tmp_path / made["file_name"]).read_text() == made["account_xml"]


def test_a_revoked_account_stays_in_the_list(ctl: Ctl) -> None:
    ctl("account", "add", "ann")
    ctl("account", "add", "bea")
    ctl("account", "revoke", "ann")
    assert [(e["name"], e["revoked"] > 0) for e in ctl.told("account", "ls")] == [
        ("ann", True),
        ("bea", False),
    ]
    assert "revoked" in ctl("account", "ls").stdout
    assert "there is no account 'eve'" in ctl("account", "revoke", "eve", code=1).stderr


def test_of_several_agents_one_must_be_named(ctl: Ctl) -> None:
    ctl.config.write_text(SECTION % "lab" + SECTION % "home")
    assert "--agent NAME" in ctl("account", "ls", code=1).stderr
    ctl("account", "add", "ann", "--agent", "home")
    assert ctl.told("account", "ls", "--agent", "lab") == []
    ctl.config.write_text("[agents.local]\n")
    assert "no agent of kind boinc" in ctl("account", "ls", code=2).stderr


def test_keys_can_be_kept_elsewhere_and_brought_back(ctl: Ctl, tmp_path: Path) -> None:
    kept, keys = tmp_path / "kept.json", ctl.home / "keys"
    assert "no keys yet" in ctl("keys", "export", kept, code=1).stderr
    keys.mkdir(parents=True)
    pair = KeyPair.generate()
    pair.save(keys)
    (keys / "upload_secret").write_text("ab" * 32)
    ctl("keys", "export", kept)
    assert kept.stat().st_mode & 0o777 == 0o600
    for each in keys.iterdir():
        each.unlink()
    keys.rmdir()
    ctl("keys", "import", kept)
    assert KeyPair.load(keys) == pair
    assert (keys / "upload_secret").read_text() == "ab" * 32
    assert keys.stat().st_mode & 0o777 == 0o700
    ctl("keys", "import", kept)  # the same once more is no harm


def test_other_keys_are_replaced_only_by_who_says_so(ctl: Ctl, tmp_path: Path) -> None:
    kept, keys = tmp_path / "kept.json", ctl.home / "keys"
    keys.mkdir(parents=True)
    KeyPair.generate().save(keys)
    (keys / "upload_secret").write_text("ab" * 32)
    ctl("keys", "export", kept)
    other = KeyPair.generate()
    other.save(keys)
    assert "--replace" in ctl("keys", "import", kept, code=1).stderr
    assert KeyPair.load(keys) == other
    ctl("keys", "import", "--replace", kept)
    assert KeyPair.load(keys) != other


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "spoolmw boinc keys 1", "upload_secret": 5}']
)
def test_what_is_no_export_is_refused(ctl: Ctl, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd").write_text(text)
    assert "has no keys" in ctl("keys", "import", tmp_path / "odd", code=1).stderr
    assert not ctl.home.exists()


# -- doctor


@contextmanager
def a_server(page: bytes) -> Iterator[str]:
    """Answers everything with a page; its address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def findings(layout: Layout, address: str, url: str = "") -> list[tuple[str, str]]:
    place = Boinc(listen=address, url=url or f"http://{address}/grid/")
    agent = AgentConfig(name="lab", kind="boinc", boinc=place)
    local = AgentConfig(name="local")
    found = boinc_checks.check_boinc(layout, Config(agents=(agent, local)))
    return [(each.level, f"{each.says} {each.fix}") for each in found]


def test_doctor_finds_the_project_as_clients_do(layout: Layout) -> None:
    with a_server(b"<html><!-- <scheduler>http://x.y/cgi</scheduler> --></html>") as address:
        found = findings(layout, address)
    assert found[0] == ("ok", f"lab: clients find the project at http://{address}/grid/. ")
    assert found[1][0] == "warn"
    assert "account add" in found[1][1]


def test_doctor_says_when_something_else_answers_or_nobody(layout: Layout) -> None:
    with a_server(b"<html>welcome</html>") as address:
        [first, *_] = findings(layout, address)
    assert (first[0], "no project" in first[1]) == ("bad", True)
    [first, *_] = findings(layout, address)
    assert (first[0], "does not answer" in first[1]) == ("warn", True)
    [first, *_] = findings(layout, address, "http://localhost:1/grid/")
    assert (first[0], "a dot" in first[1]) == ("bad", True)


def test_doctor_wants_keys_and_accounts_to_be_private(layout: Layout) -> None:
    folder = accounts.folder_of(layout.root, "lab")
    accounts.add(folder, "ann")
    keys = layout.root / "agents" / "lab" / "boinc" / "keys"
    keys.mkdir()
    KeyPair.generate().save(keys)
    said = [each for each in findings(layout, "127.0.0.1:1") if "private" in each[1]]
    assert [level for level, _ in said] == ["ok"]
    os.chmod(keys / "code_sign_private", 0o640)
    said = [each for each in findings(layout, "127.0.0.1:1") if "may read" in each[1]]
    assert [level for level, _ in said] == ["bad"]
    assert "chmod go= " in said[0][1]


def test_doctor_misses_somebody_who_compares(layout: Layout) -> None:
    agent = AgentConfig(name="lab", kind="boinc", boinc=Boinc(listen="127.0.0.1:1", url=URL))
    alone = list(boinc_checks.check_boinc(layout, Config(agents=(agent,))))
    assert "[agents.local]" in alone[-1].fix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_what_root_makes_belongs_to_the_daemons_user() -> None:
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        layout = prepare(Path(base) / "spool")
        for each in (layout.root, *layout.root.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
        ctl = Ctl(layout, Path(base))
        ctl("account", "add", "ann")
        made = [ctl.home, *ctl.home.rglob("*")]
        assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(NOBODY, NOBODY)}
        assert (ctl.home / "accounts" / "ann.json").stat().st_mode & 0o777 == 0o600
        assert (os.geteuid(), os.getegid()) == (0, 0)
