"""What the spool was entrusted with, as the folders tell it, whatever became of the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import Layout, parse_active


def active_files(layout: Layout) -> Iterator[tuple[Path, TaskId, str, str]]:
    """Path, id, box and dropped name of each accepted task's file."""
    for shard in sorted(os.listdir(layout.active)):
        with os.scandir(layout.active / shard) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(names):
            parsed = parse_active(name)
            if parsed is not None:
                yield layout.active / shard / name, *parsed


def is_fresh(layout: Layout) -> bool:
    """No task was ever accepted here: only then may a journal that is missing be made anew."""
    has_ended = layout.done_log.exists() and layout.done_log.stat().st_size > 0
    return not has_ended and not any(active_files(layout))
