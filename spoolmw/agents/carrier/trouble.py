"""What can be wrong with a host, said so that somebody can mend it."""

from __future__ import annotations

from typing import Any

from spoolmw.errors import AgentError


class HostTrouble(AgentError):
    """A host cannot be used now.

    `stage` is how far it came: "address", "key" (host key), "login", "python", "runner" or
    "link" (a connection that stood broke).
    """

    stage = "link"


def odd(error: Exception) -> HostTrouble:
    """What nobody has thought of: it concerns this host only, and is told as it is."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return trouble("link", "the host's words cannot be understood", why=text)


def trouble(stage: str, what: str, *, why: str = "", fix: str = "") -> HostTrouble:
    """A HostTrouble that says how far it came."""
    error = HostTrouble(what, why=why, fix=fix)
    error.stage = stage
    return error


def reason(told: dict[str, Any]) -> str:
    """Why a host cannot be used, on one line."""
    text = "; ".join(each for each in (told["what"], told["why"], told["fix"]) if each)
    if told["paused"]:
        return (
            f"paused after {told['failures']} failures in a row, "
            f"tried again in {told['again_s'] / 60:.0f} min: {text}"
        )
    return text
