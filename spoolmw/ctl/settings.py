"""The verb `config`: the configuration as the daemon reads it, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from spoolmw.config import AgentConfig, Config
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb


@verb(
    "config",
    examples="""
    spoolmw-ctl config
    spoolmw-ctl config /etc/spoolmw/spoolmw.toml && systemctl reload spoolmwd
    spoolmw-ctl config --json | jq .agents
    """,
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
def config_verb(session: Session, *, file: Path | None) -> None:
    """Check the configuration and show what it comes to.

    The defaults are shown too. FILE is another one to check. Exit code 2, with line and
    nearest right key, when it cannot be used. What a running daemon has read may be older.
    """
    config = Config.load(file) if file is not None else session.config()
    if session.screen.json:
        session.screen.record(_tree(config))
        return
    says = f"{config.source} is fine." if config.source else "No file; the defaults hold."
    session.screen.say(says)
    for line in _lines(config):
        session.screen.line(line)


def _tree(config: Config) -> dict[str, Any]:
    tree = asdict(config)
    tree["source"] = str(config.source) if config.source else None
    tree["agents"] = {agent.pop("name"): agent for agent in tree["agents"]}
    return tree


def _lines(config: Config) -> Iterator[str]:
    tree = _tree(config)
    plain = _tree(Config())
    standard = asdict(AgentConfig(name=""))
    for section, values in tree.items():
        if section == "agents":
            for name, agent in values.items():
                yield from _section(f"agents.{name}", agent, standard)
        elif isinstance(values, dict):
            yield from _section(section, values, plain[section])


def _section(name: str, values: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    for key, value in values.items():
        mark = "" if value != defaults[key] else "  # default"
        yield f"{key} = {_text(value)}{mark}"
    yield ""


def _text(value: object) -> str:
    return '"never"' if value is None else json.dumps(value)
