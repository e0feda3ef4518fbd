"""A control socket that answers `show` from a table: for tests of who asks, without a daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spoolmw.daemon.control import ControlServer, Request
from spoolmw.errors import UnknownTask


@contextlib.contextmanager
def asked(root: Path, records: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Request]]:
    """Serve until the end of the block; gives what was asked."""
    heard: list[Request] = []

    def handle(request: Request) -> None:
        heard.append(request)
        record = records.get(str(request.args.get("id")))
        if record is None:
            request.reply(UnknownTask(f"no task has the id {request.args.get('id')}"))
        else:
            request.reply(dict(record))

    server = ControlServer(root / "control.sock", handle)
    server.start()
    try:
        yield heard
    finally:
        server.close()
