"""Where a host is and how to log in: what `ssh` would read in `~/.ssh/config`, read with paramiko.

HostName, Port, User, IdentityFile, IdentitiesOnly, IdentityAgent none, ProxyJump, ProxyCommand,
UserKnownHostsFile, GlobalKnownHostsFile, ConnectTimeout, Include and Match (not `exec`) count;
StrictHostKeyChecking does not: host keys are always checked.
"""

from __future__ import annotations

import getpass
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from spoolmw.agents.carrier.trouble import trouble
from spoolmw.format.hosts import BadHost, HostName, parse

CONNECT_S = 10.0  #: for each step of a connection, where ConnectTimeout says nothing else
_GLOBAL = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_MOST_DEPTH = 16  #: of Include, and of hops


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Everything that a connection needs to know."""

    name: str  #: as it was written; host keys are looked up under `address`
    address: str
    port: int
    user: str
    keys: tuple[str, ...] = ()  #: private keys' files that were named
    only_these_keys: bool = False
    use_ssh_agent: bool = True
    known_hosts: tuple[str, ...] = ()  #: files; what is learnt goes into the first
    global_known_hosts: tuple[str, ...] = _GLOBAL
    through: tuple[Target, ...] = ()  #: hosts to jump over, the first one first
    command: str = ""  #: ProxyCommand
    connect_s: float = CONNECT_S

    @property
    def key_name(self) -> str:
        """The host's name in a `known_hosts` file."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


def resolve(host: HostName, *, user: str = "", config: str = "") -> Target:
    """What the ssh configuration says of `host`. Raises HostTrouble.

    `user` is the agent's; one that stands before the host's name counts more. `config` is
    the file to read instead of the user's and the system's.
    """
    return _resolve(host, user, _read(config), 0)


def _resolve(host: HostName, user: str, config: paramiko.SSHConfig, depth: int) -> Target:
    if depth > _MOST_DEPTH:
        raise trouble(
            "address",
            f"{host.name} is behind more than {_MOST_DEPTH} hosts",
            fix="look for a circle of ProxyJump in the ssh configuration",
        )
    found: dict[str, Any] = dict(config.lookup(host.name))
    jump = found.get("proxyjump", "")
    return Target(
        name=host.name,
        address=found.get("hostname", host.name),
        port=host.port or _number(found, "port", 22),
        user=host.user or user or found.get("user") or getpass.getuser(),
        keys=tuple(str(Path(key).expanduser()) for key in found.get("identityfile", ())),
        only_these_keys=found.get("identitiesonly", "no").lower() == "yes",
        use_ssh_agent=found.get("identityagent", "").lower() != "none",
        known_hosts=_files(found.get("userknownhostsfile", "~/.ssh/known_hosts")),
        global_known_hosts=_files(found.get("globalknownhostsfile", " ".join(_GLOBAL))),
        through=_hops(jump, config, depth) if jump and jump != "none" else (),
        command="" if found.get("proxycommand", "none") == "none" else found["proxycommand"],
        connect_s=float(_number(found, "connecttimeout", int(CONNECT_S))),
    )


def _hops(jump: str, config: paramiko.SSHConfig, depth: int) -> tuple[Target, ...]:
    """Every host on the way, those that a hop itself jumps over too."""
    way: list[Target] = []
    for word in jump.split(","):
        try:
            hop = _resolve(parse(word.strip().removeprefix("ssh://")), "", config, depth + 1)
        except BadHost as error:
            raise trouble(
                "address", f"ProxyJump {jump!r} cannot be used", why=str(error)
            ) from None
        if not way:
            way += hop.through
        way.append(hop)
    return tuple(way)


def _read(config: str) -> paramiko.SSHConfig:
    """The configuration in a file, or (as ssh does) the user's followed by the system's."""
    try:
        if config:
            return paramiko.SSHConfig.from_text("\n".join(_lines(Path(config), 0)))
        found = [Path("~/.ssh/config").expanduser(), _SYSTEM_CONFIG]
        lines = [
            line for path in found if path.exists() for line in ["Host *", *_lines(path, 0)]
        ]
        return paramiko.SSHConfig.from_text("\n".join(lines))
    except (OSError, UnicodeDecodeError, paramiko.SSHException, ValueError) as error:
        raise trouble(
            "address",
            f"the ssh configuration {config or '~/.ssh/config'} cannot be used",
            why=str(error),
            fix="`ssh -G HOST` says what ssh makes of it",
        ) from None


def _lines(path: Path, depth: int) -> list[str]:
    """The lines of a file, those that it includes in their place."""
    if depth > _MOST_DEPTH:
        raise ValueError(f"{path} includes itself")
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.replace("=", " ", 1).split()
        if words[:1] and words[0].lower() == "include":
            for pattern in words[1:]:
                for name in sorted(glob.glob(_beside(path, pattern))):  # noqa: PTH207  absolute patterns
                    lines += _lines(Path(name), depth + 1)
        else:
            lines.append(line)
    return lines


def _beside(path: Path, pattern: str) -> str:
    return str(path.parent / Path(pattern.strip('"')).expanduser())


def _files(text: str) -> tuple[str, ...]:
    return tuple(str(Path(word).expanduser()) for word in text.split() if word != "none")


def _number(found: dict[str, Any], key: str, default: int) -> int:
    text = str(found.get(key, default))
    return int(text) if text.isdigit() else default
