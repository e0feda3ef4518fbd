"""How far running tasks say they are: known to the running daemon only, never to the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spoolmw.ctl.session import Session
from spoolmw.errors import SpoolmwError


def told_progress(session: Session, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`fraction`, `text` and `at` by the task's id; empty while the daemon is down."""
    if not ids:
        return {}
    try:
        with session.control() as control:
            answer = control.request("progress", {"ids": list(ids)})
    except SpoolmwError:
        return {}
    return {told.pop("id"): told for told in answer["progress"]}


def in_words(told: Mapping[str, Any] | None) -> str:
    """`40 %, epoch 4`; empty where nothing was said."""
    if not told:
        return ""
    share = f"{100 * told['fraction']:.3g} %"
    return f"{share}, {told['text']}" if told["text"] else share
