"""Host keys: known, unknown or changed; and the words that tell somebody what to do about it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import paramiko

from spoolmw.agents.carrier.trouble import HostTrouble, trouble
from spoolmw.agents.sshlink.target import Target


def fingerprint(key: Any) -> str:
    """As `ssh-keygen -l` shows it: `SHA256:...`."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def load(client: paramiko.SSHClient, target: Target) -> None:
    """Have `client` know the keys in the target's files; a file that is missing knows none."""
    for name in (*target.global_known_hosts, *target.known_hosts):
        with contextlib.suppress(OSError):
            client.load_system_host_keys(name)


class Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    """An unknown host key ends the connection."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        raise unknown(self._target, key)


def unknown(target: Target, key: Any) -> HostTrouble:
    """Nobody has ever said that this is the host's key."""
    return trouble(
        "key",
        f"the host key of {target.name} is not known: {key.get_name()} {fingerprint(key)}",
        why=f"{target.key_name} is not in {_file(target)}, so it may be any machine",
        fix=f"compare the fingerprint with what `{_shows(key)}` says on {target.name}, then: "
        f"{accepting(target, key)}",
    )


def changed(target: Target, key: Any, expected: Any) -> HostTrouble:
    """The host shows another key than the one that is known."""
    return trouble(
        "key",
        f"the host key of {target.name} has changed: it shows {key.get_name()} "
        f"{fingerprint(key)}, known is {fingerprint(expected)}",
        why="the machine was installed anew, or somebody stands between",
        fix=f"if `{_shows(key)}` says the same on {target.name}: "
        f"ssh-keygen -R '{target.key_name}' -f {_file(target)}; {accepting(target, key)}",
    )


def accepting(target: Target, key: Any) -> str:
    """The command that makes this very key known."""
    line = f"{target.key_name} {key.get_name()} {key.get_base64()}"
    return f"echo '{line}' >> {_file(target)}"


def _file(target: Target) -> str:
    default = str(Path("~/.ssh/known_hosts").expanduser())
    return target.known_hosts[0] if target.known_hosts else default


def _shows(key: Any) -> str:
    name = key.get_name().removeprefix("ssh-").partition("-")[0]
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub"
