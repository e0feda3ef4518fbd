"""`config` shows the configuration in the spelling of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spoolmw.config import Config
from spoolmw.ctl.main import program

FULL = """\
[intake]
settle_s = "250ms"
allow_paths = ["/data"]
[agents.local]
slots = 3
gpus = [0, "a"]
memory = "1500MB"
[agents.other]
env = ["TERM"]
[retention]
results = "90d"
story = "never"
[disk]
low = "0B"
[daemon]
grace = "1h30m"
"""


def shown(path: Path) -> str:
    done = CliRunner().invoke(program, ["config", str(path)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_shown_is_a_configuration_that_says_the_same(tmp_path: Path) -> None:
    path, again = tmp_path / "full.toml", tmp_path / "again.toml"
    path.write_text(FULL)
    again.write_text(shown(path))
    first, second = Config.load(path), Config.load(again)
    assert [getattr(first, name) for name in ("intake", "agents", "retention", "disk")] == [
        getattr(second, name) for name in ("intake", "agents", "retention", "disk")
    ]


def test_pilots_of_a_pool_are_shown_with_all_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "pilots.toml"
    path.write_text(
        '[agents.pool]\nkind = "condor"\nmode = "pilot"\nlisten = "0.0.0.0:1"\nvacate_grace = "9s"\n'
    )
    lines = shown(path).splitlines()
    assert {'mode = "pilot"', 'listen = "0.0.0.0:1"', 'vacate_grace = "9s"'} <= set(lines)
    assert '# grace = "30s"' in lines


def test_defaults_stand_behind_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    lines = shown(path).splitlines()
    assert '# story = "90d"' in lines
    assert '# slots = "auto"' in lines
    assert all(line == "" or line[0] in "[#" for line in lines)


def test_a_misspelt_key_is_told_with_line_and_right_key(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[intake]\nsetle_s = 1\n")
    done = CliRunner().invoke(program, ["config", str(path)])
    assert done.exit_code == 2
    assert "line 2" in done.stderr
    assert "settle_s" in done.stderr


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('kind = "slurm"', "there is no kind 'slurm'"),
        ('kind = "ssh"', "has no hosts"),
        ('kind = "ssh"\nhosts_file = "/nonexistent"', "hosts cannot be used"),
        ('kind = "process"', "no address for its pilots"),
        ('kind = "boinc"', "no address for clients"),
    ],
)
def test_what_no_daemon_would_start_with_is_told(
    tmp_path: Path, section: str, says: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"[agents.lab]\n{section}\n")
    done = CliRunner().invoke(program, ["config", str(path)])
    assert done.exit_code == 2
    assert says in done.stderr
    assert "To do: " in done.stderr


def test_the_file_beside_a_spool_that_is_not_made_yet_is_checked(tmp_path: Path) -> None:
    spool, file = tmp_path / "spool", tmp_path / "spoolmw.toml"
    none = CliRunner().invoke(program, ["--spool", str(spool), "config"])
    assert (none.exit_code, "No file" in none.stderr + none.stdout) == (0, True)
    file.write_text("[intake]\nsetle_s = 1\n")
    wrong = CliRunner().invoke(program, ["--spool", str(spool), "config"])
    assert wrong.exit_code == 2
    assert "settle_s" in wrong.stderr
