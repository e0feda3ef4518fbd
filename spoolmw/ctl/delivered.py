"""Finds what a task delivered: its result file and the folder of files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolmw.ctl.words import FINAL_STATES
from spoolmw.errors import ResultGone, SpoolmwError
from spoolmw.format.resultfile import ResultFile, files_folder, read
from spoolmw.spooldir.layout import Layout

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivered result: the parsed file, and where things lie."""

    path: Path
    folder: Path  #: of a command's files; need not exist
    file: ResultFile

    def has_files(self) -> bool:
        """True for commands and scripts: their output stands in files."""
        return self.folder.is_dir()

    def output(self, stream: str) -> bytes:
        """What the task wrote: whole for a command, the last few kilobytes for a call."""
        beside = self.folder / stream
        if beside.is_file():
            return beside.read_bytes()
        return str(self.file.header.get(f"{stream}_tail") or "").encode()


def delivery_of(layout: Layout, task: Mapping[str, Any]) -> Delivery:
    """The result of an ended task; says why where there is none."""
    if task["state"] == "rejected":
        raise SpoolmwError(
            f"{task['name']} has no result.",
            why=task["message"],
            fix="spoolmw-ctl ls --rejected has the whole reason; mend it and drop it again.",
        )
    if task["state"] not in FINAL_STATES:
        raise SpoolmwError(
            f"{task['name']} has no result yet.",
            why=f"It is {task['state']}.",
            fix=f"Wait for it: spoolmw-ctl wait {task['id']}",
        )
    path = layout.root / task["result"]
    try:
        parsed = read(path)
    except FileNotFoundError:
        raise ResultGone(
            f"The result of {task['name']} is not there any more.",
            why=f"It was delivered to {path} and somebody took it away.",
            fix="Ask who reads the results; spoolmw-ctl show tells how the task ended.",
        ) from None
    return Delivery(path, files_folder(path), parsed)
