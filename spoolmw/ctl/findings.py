"""What `doctor` finds: one line on one thing, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one thing. `fix` says what to do unless the level is ok."""

    check: str
    level: Level
    says: str
    fix: str = ""


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", says)


def warn(check: str, says: str, fix: str) -> Finding:
    """It works, but look at it."""
    return Finding(check, "warn", says, fix)


def bad(check: str, says: str, fix: str) -> Finding:
    """It does not work, or what is promised does not hold."""
    return Finding(check, "bad", says, fix)
