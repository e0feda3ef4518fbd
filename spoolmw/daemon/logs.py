"""Log lines for an operator: `level event key=value ...`, one line each, everything escaped."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from spoolmw.format.names import escape

log = logging.getLogger("spoolmw")


#: syslog(3)'s numbers, which journald takes off the line's beginning: `journalctl -p warning`.
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._for_journald = os.environ.get("JOURNAL_STREAM") == _stream_of(sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname.lower()} {escape(record.getMessage())}"
        if record.exc_info:
            line += " trace=" + escape(self.formatException(record.exc_info))
        return f"<{_PRIORITIES[record.levelname]}>{line}" if self._for_journald else line


def _stream_of(file: TextIO) -> str:
    """Device and inode of an open file, as systemd writes them into $JOURNAL_STREAM."""
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def setup(level: str = "info") -> None:
    """Log to stderr, where journald or the terminal takes it (with its own time stamps)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())


def fields(**values: object) -> str:
    """`key=value` pairs; values with spaces are quoted."""
    parts = []
    for key, value in values.items():
        text = str(value)
        if not text or any(c in text for c in ' "='):
            text = '"' + text.replace('"', "'") + '"'
        parts.append(f"{key}={text}")
    return " ".join(parts)
