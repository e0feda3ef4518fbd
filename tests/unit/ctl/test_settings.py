"""`config` shows the configuration in the spelling of the file."""

from __future__ import annotations

from pathlib import Path

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
