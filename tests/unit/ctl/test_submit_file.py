"""A file that is submitted becomes a task file with an id; its mistakes are told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolmw.ctl.submit_file import submit_file
from spoolmw.errors import BadTaskFile
from spoolmw.format.taskfile import TaskFile, read_header
from spoolmw.spooldir.layout import Layout


def dropped(layout: Layout, box: str = "") -> tuple[Path, TaskFile, bytes]:
    """The one task file in the box, parsed, and its body."""
    [file] = (layout.incoming / box).glob("*.task")
    data = file.read_bytes()
    parsed = read_header(data, size=len(data), dropped=file.name)
    return file, parsed, data[parsed.body_offset :]


def test_a_script_keeps_its_text_and_what_it_asks_for(layout: Layout, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text('#!/bin/sh\n#SPOOLMW time = "90s"\necho hello\n')
    told = submit_file(layout, script, box="fold")
    file, parsed, body = dropped(layout, "fold")
    assert (parsed.id, parsed.spec.name) == (told["id"], "job.sh")
    assert parsed.spec.run.script
    assert parsed.spec.limits.time_s == 90
    assert body == script.read_bytes()
    assert told["result"] == str(layout.results / "fold" / f"{file.stem}.result")


def test_a_toml_brings_the_inputs_that_lie_beside_it(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a b c")
    (tmp_path / "count.toml.in" / "sub").mkdir(parents=True)
    (tmp_path / "count.toml.in" / "sub" / "more.txt").write_text("d")
    toml = tmp_path / "count.toml"
    toml.write_text('[run]\ncommand = ["wc", "words.txt"]\n[files]\ninputs = ["words.txt"]\n')
    submit_file(layout, toml, box="")
    file, parsed, body = dropped(layout)
    assert parsed.spec.run.command == ("wc", "words.txt")
    assert body == b""
    folder = file.with_name(f"{file.name}.in")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")} == {
        "words.txt",
        "sub/more.txt",
    }


def test_a_missing_input_is_told_and_nothing_is_dropped(layout: Layout, tmp_path: Path) -> None:
    toml = tmp_path / "count.toml"
    toml.write_text('[run]\ncommand = ["wc", "no.txt"]\n[files]\ninputs = ["no.txt"]\n')
    with pytest.raises(BadTaskFile, match=r"no\.txt"):
        submit_file(layout, toml, box="")
    assert not list(layout.incoming.iterdir())


def test_a_misspelt_key_is_told_with_the_right_one(layout: Layout, tmp_path: Path) -> None:
    toml = tmp_path / "count.toml"
    toml.write_text('[run]\ncomand = ["wc"]\n')
    with pytest.raises(BadTaskFile) as refused:
        submit_file(layout, toml, box="")
    assert "command" in refused.value.fix
    assert not list(layout.incoming.iterdir())


def test_a_file_that_is_not_there_is_told(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(BadTaskFile, match="cannot be read"):
        submit_file(layout, tmp_path / "none.toml", box="")


def test_a_box_cannot_lead_out_of_the_spool(layout: Layout, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(BadTaskFile, match="box"):
        submit_file(layout, script, box="../x")
