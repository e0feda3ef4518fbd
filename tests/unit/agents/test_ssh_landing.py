"""The program that arrives first, run by a shell and Pythons of this machine without any ssh."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.sshlink import bootstrap, landing

ARCHIVE = (
    b"import sys\nprint('up', *sys.argv[1:])\n"  # what Python is given may be a plain file
)
OLD = next(
    (
        path
        for path in map(
            shutil.which, ("python3.9", "/root/.pyenv/versions/3.9.18/bin/python3.9")
        )
        if path
        and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0
    ),
    None,
)


def land(
    base: Path,
    *,
    pythons: Sequence[str] = (sys.executable,),
    data: bytes = ARCHIVE,
    sent: bytes | None = None,
    shell: str = "/bin/sh",
) -> tuple[list[dict[str, Any]], str]:
    """Send everything that a link sends; returns the answers, and what the program printed."""
    request = {
        "folder": str(base),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "argv": ["attach", "{base}/x"],
    }
    program = Path(landing.__file__).read_text().partition("if __name__")[0]
    text = f"{' '.join(pythons)}\n{json.dumps(program + 'main()')}\n{json.dumps(request)}\n"
    done = subprocess.run(
        [shell, "-c", bootstrap.LINE],
        input=text.encode() + (data if sent is None else sent),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    told = [line[len(landing.WORD) :] for line in lines if line.startswith(landing.WORD)]
    rest = [line for line in lines if not line.startswith(landing.WORD)]
    return [json.loads(each) for each in told], "\n".join(rest)


def test_an_archive_that_is_not_there_is_taken_and_run(tmp_path: Path) -> None:
    answers, printed = land(tmp_path / "base")
    assert [each.get("need") for each in answers] == [True, None]
    assert printed == f"up attach {tmp_path}/base/x"
    [archive] = (tmp_path / "base" / "runner").iterdir()
    assert archive.read_bytes() == ARCHIVE
    assert (tmp_path / "base").stat().st_mode & 0o777 == 0o700


def test_an_archive_that_is_there_is_not_sent_again(tmp_path: Path) -> None:
    land(tmp_path / "base")
    answers, printed = land(tmp_path / "base", sent=b"")
    assert answers[0]["need"] is False
    assert printed.startswith("up")


def test_an_archive_that_was_damaged_on_disk_is_sent_again(tmp_path: Path) -> None:
    land(tmp_path / "base")
    [archive] = (tmp_path / "base" / "runner").iterdir()
    archive.write_bytes(ARCHIVE[:-1])
    answers, printed = land(tmp_path / "base")
    assert answers[0]["need"] is True
    assert printed.startswith("up")


@pytest.mark.parametrize(
    ("sent", "what"),
    [(ARCHIVE[:-1], "did not arrive"), (ARCHIVE[:-1] + b"x", "arrived damaged")],
)
def test_an_archive_that_does_not_arrive_whole_leaves_nothing(
    tmp_path: Path, sent: bytes, what: str
) -> None:
    answers, printed = land(tmp_path / "base", sent=sent)
    assert what in answers[1]["what"]
    assert printed == ""
    assert list((tmp_path / "base" / "runner").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    base = tmp_path / "base"
    base.mkdir()
    base.chmod(mode)
    [refusal], printed = land(base)
    assert "may be changed by others" in refusal["what"]
    assert printed == ""


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "base").symlink_to(tmp_path / "elsewhere")
    [refusal], _ = land(tmp_path / "base")
    assert "is no folder" in refusal["what"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    [refusal], _ = land(tmp_path / "nowhere" / "base")
    assert str(tmp_path / "nowhere" / "base") in refusal["what"]
    assert "folder" in refusal["fix"]


def test_the_first_python_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    _, printed = land(tmp_path / "base", pythons=["/nowhere/python", str(old), sys.executable])
    assert printed.startswith("up")


def test_that_there_is_no_python_is_said_with_one_word(tmp_path: Path) -> None:
    assert land(tmp_path / "base", pythons=["/nowhere/python3"]) == ([], "SPOOLMW-NO-PYTHON")


@pytest.mark.skipif(OLD is None, reason="there is no Python 3.9 here")
def test_it_is_clean_for_python_3_9(tmp_path: Path) -> None:
    answers, printed = land(tmp_path / "base", pythons=[str(OLD)])
    assert answers[0]["python"].startswith("3.9.")
    assert printed.startswith("up")


@pytest.mark.parametrize(
    "shell", [each for each in ("bash", "dash", "csh", "fish", "zsh") if shutil.which(each)]
)
def test_the_line_is_understood_by_any_login_shell(tmp_path: Path, shell: str) -> None:
    _, printed = land(tmp_path / "base", shell=shell)
    assert printed.startswith("up")


def test_those_that_were_named_are_tried_first_and_none_twice() -> None:
    tried = bootstrap.candidates(["/opt/python3.12", "python3"])
    assert tried[:3] == ["/opt/python3.12", "python3", f"python3.{sys.version_info[1]}"]
    assert len(tried) == len(set(tried))
    assert "python3.9" in tried


def test_the_line_is_fixed() -> None:
    """Nothing of a configuration stands in it: names of Pythons and folders go over stdin."""
    assert "%" not in bootstrap.LINE
    assert "\n" not in bootstrap.LINE
    assert "!" not in bootstrap.LINE, "csh would look into its history"
    assert os.sep + "var" not in bootstrap.LINE
