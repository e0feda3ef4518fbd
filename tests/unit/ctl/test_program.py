"""Every verb keeps the rules of the program: an example, `--json`, a page that is not stale."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spoolmw.ctl.__main__ import main
from spoolmw.ctl.main import SECTIONS, VERBS, program
from spoolmw.ctl.verb import Verb
from spoolmw.spooldir.layout import Layout

ROOT = Path(__file__).parents[3]


def the_verb(name: str) -> Verb:
    command = program.get_command(click.Context(program), name)
    assert isinstance(command, Verb)
    return command


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_an_example_that_uses_it_and_takes_json(name: str) -> None:
    command = the_verb(name)
    assert any(f"spoolmw-ctl {name}" in line for line in command.examples)
    assert {"json", "spool"} <= {param.name for param in command.params}
    helped = CliRunner().invoke(program, [name, "--help"])
    assert helped.exit_code == 0
    assert "Examples:" in helped.stdout


def test_the_help_lists_every_verb_once_and_whole() -> None:
    helped = CliRunner().invoke(program, ["--help"]).stdout
    assert sum(map(len, SECTIONS.values())) == len(VERBS)
    for name in VERBS:
        assert f"\n  {name} " in helped
    assert "..." not in helped.replace("[ARGS]...", "")


def test_without_a_spool_it_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(program, ["--spool", str(tmp_path / "none"), "status"])
    assert done.exit_code == 2
    assert "There is no spool" in done.stderr
    assert "To do:" in done.stderr


@pytest.mark.parametrize(("answer", "code"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_ctrl_c_at_a_question_is_an_interruption_and_no_answer_is_a_no(
    answer: type[BaseException], code: int, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_question: str) -> str:
        raise answer

    monkeypatch.setattr("sys.argv", ["spoolmw-ctl", "--spool", str(layout.root), "rebuild"])
    monkeypatch.setattr("click.termui.visible_prompt_func", asked)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == code


def test_what_is_closed_to_a_user_is_told_in_a_sentence(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/spool/active")

    monkeypatch.setattr("spoolmw.ctl.status.gather", look)
    done = CliRunner().invoke(program, ["--spool", str(layout.root), "status"])
    assert done.exit_code == 2
    assert "/spool/active is not open to this user." in done.stderr
    assert "To do:" in done.stderr


def test_ctrl_c_while_the_program_is_loaded_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", load)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_the_page_on_the_command_line_is_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate_cli.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
