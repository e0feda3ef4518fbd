"""What a task delivered is copied where the user says, or it is told why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spoolmw.ctl.main import program
from spoolmw.ctl.targets import writing
from spoolmw.errors import SpoolmwError
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from spoolmw.spooldir.layout import Layout
from tests.unit.ctl.conftest import Enter


def save(layout: Layout, task: str, target: Path) -> Result:
    words = ["--spool", str(layout.root), "result", "--save", str(target), task]
    return CliRunner().invoke(program, words)


@pytest.fixture
def task(layout: Layout, enter: Enter) -> str:
    """A task that delivered."""
    task = enter("fold", state=TaskState.DONE)
    results.write(
        str(layout.results / "fold.result"), "fold", f"{task}.0.1", results.refused("no")
    )
    return task


def test_a_result_is_saved_and_its_place_told(
    layout: Layout, task: str, tmp_path: Path
) -> None:
    saved = save(layout, task, tmp_path / "out")
    assert (saved.exit_code, saved.stdout) == (0, f"{tmp_path}/out/fold.result\n")
    assert (tmp_path / "out/fold.result").is_file()


def test_a_place_that_cannot_be_written_is_told_with_the_reason(
    layout: Layout, task: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    told = save(layout, task, tmp_path / "file" / "out")
    assert told.exit_code == 1
    assert told.stderr.splitlines() == [
        f"{tmp_path}/file/out cannot be written.",
        f"Why: Not a directory: {tmp_path}/file/out.",
        "To do: Name another place, one with room that is open to this user.",
    ]


def test_a_file_in_a_folder_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "none" / "fold.checkpoint.tar"
    with pytest.raises(SpoolmwError, match="cannot be written") as told, writing(target):
        target.touch()
    assert "No such file or directory" in told.value.why
