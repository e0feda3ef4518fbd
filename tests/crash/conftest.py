"""Where the crash tests work: in memory, where that can be had; a kill leaves the same there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM_BYTES = 512 << 20
IS_FULL = os.environ.get("SPOOLMW_CRASH") == "full"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Path]:
    """A folder on a fast disk."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="spoolmw-crash-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows progress in the full sweep, which takes a while."""

    def show(text: str) -> None:
        if IS_FULL:
            with capsys.disabled():
                print(text, flush=True)

    return show
