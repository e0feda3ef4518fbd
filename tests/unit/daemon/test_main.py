"""How the program `spoolmwd` ends where it cannot begin."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from spoolmw.daemon.main import main
from tests.support.people import as_user


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything; another user is needed")
def test_a_check_by_a_user_who_may_not_look_says_who_may() -> None:
    said = as_user(12345, _check_a_closed_spool)
    assert said.startswith("status 2: spoolmwd: ")
    assert "journal/spoolmw.db is not open to this user." in said
    assert "To do: run it as the daemon's user (sudo -u) or as root" in said


def _check_a_closed_spool(root: Path) -> str:
    (root / "journal").mkdir(parents=True)
    (root / "journal").chmod(0)
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        status = main(["--spool", str(root), "--fsck", "--log-level", "error"])
    return f"status {status}: {told.getvalue().split(chr(10), 1)[1]}"
