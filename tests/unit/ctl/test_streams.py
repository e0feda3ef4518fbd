"""What stdin and stdout cannot do is told in a sentence, once, and by the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw.spooldir.layout import Layout
from tests.unit.ctl.conftest import Enter

ROOT = Path(__file__).parents[3]
FULL = "Standard output cannot be written: No space left on device."


def ctl(
    layout: Layout, words: str, *, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Has a shell run the program: `words` may have redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m spoolmw.ctl.main --spool "$1" {words}',
         sys.executable, str(layout.root)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", ["ls", "ls --all -q", "show fold", "--help", "submit -- /bin/true"]
)
def test_a_full_disk_behind_stdout_is_told_once(
    words: str, layout: Layout, enter: Enter
) -> None:
    enter("fold")
    done = ctl(layout, f"{words} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[0] == FULL
    assert len(done.stderr.splitlines()) == 2


def test_programs_are_told_of_a_full_disk_as_json(layout: Layout, enter: Enter) -> None:
    enter("fold")
    done = ctl(layout, "--json ls >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(b'{"error": {"what": "Standard output cannot be written')


def test_a_closed_stdout_is_told(layout: Layout, enter: Enter) -> None:
    enter("fold")
    done = ctl(layout, "ls >&-")
    assert done.returncode == 1
    assert b"Standard output cannot be written: Bad file descriptor." in done.stderr


@pytest.mark.parametrize("words", ["wait - <&-", "rebuild <&-"])
def test_a_closed_stdin_is_told(words: str, layout: Layout) -> None:
    done = ctl(layout, words)
    assert done.returncode == 1
    assert b"Standard input cannot be read: Bad file descriptor." in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_went_away_is_no_reason_to_complain(layout: Layout, enter: Enter) -> None:
    enter("fold")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "spoolmw.ctl.main", "--spool", str(layout.root), "ls"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("words", ["ls", "show naïve.sh"])
def test_a_letter_that_stdout_has_no_code_for_is_escaped(
    words: str, layout: Layout, enter: Enter
) -> None:
    enter("naïve.sh")
    done = ctl(layout, words, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    assert rb"na\xefve.sh" in done.stdout


def test_bytes_on_stdin_that_are_no_text_name_no_task(layout: Layout, enter: Enter) -> None:
    enter("fold")
    done = ctl(layout, r"show - <<E" + "\nfold\n\udcff\nE", env={"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 1
    assert rb"There is no task \udcff." in done.stderr
