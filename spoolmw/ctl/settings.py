"""The verb `config`: the configuration as the daemon reads it, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from spoolmw.agents.registry import check_sections
from spoolmw.client.place import meant_spool
from spoolmw.config import FIELD_NAMES, AgentConfig, Config, Pilots
from spoolmw.ctl.session import Session
from spoolmw.ctl.verb import verb
from spoolmw.format.units import SIZE_UNITS, TIME_UNITS

#: How the file calls what the records call by another word.
_KEYS = {field: key for key, field in FIELD_NAMES.items()}
_SIZES = {unit: SIZE_UNITS[unit] for unit in ("B", "kB", "MB", "GB", "TB")}
_TIMES = {unit: TIME_UNITS[unit] for unit in ("ms", "s", "m", "h", "d")}


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

    What is default stands behind a #. FILE is another one to check. Exit code 2, with line and
    nearest right key, when it cannot be used, or no agent can be made of what it says. What a
    running daemon has read may be older.
    """
    config = checked(session, file)
    if session.screen.json:
        session.screen.record(_tree(config))
        return
    says = f"{config.source} is fine." if config.source else "No file; the defaults hold."
    session.screen.say(says)
    for line in _lines(config):
        session.screen.line(line)


def checked(session: Session, file: Path | None = None) -> Config:
    """The configuration, also held against what its agents need. Raises BadConfig."""
    given = file if file is not None else session.given_config
    root = meant_spool(session.given_spool)  # it can be checked before there is a spool
    config = Config.find(root, given or None)
    check_sections(config.agents, root)
    return config


def _tree(config: Config) -> dict[str, Any]:
    tree = asdict(config)
    tree["source"] = str(config.source) if config.source else None
    tree["agents"] = {agent.pop("name"): _flat(agent) for agent in tree["agents"]}
    return tree


def _flat(agent: dict[str, Any]) -> dict[str, Any]:
    """An agent's keys as the file has them: those of an engine only where it is one."""
    pool, pilots, boinc = agent.pop("pool"), agent.pop("pilots"), agent.pop("boinc")
    if agent["kind"] == "boinc":
        return {**agent, **boinc, "preferences": dict(boinc["preferences"])}
    if agent["kind"] not in ("condor", "process"):
        return agent
    if agent["kind"] == "process":
        return {**agent, **pilots}
    pool["submit"] = dict(pool["submit"])
    return {**agent, **pool, **(pilots if pool["mode"] == "pilot" else {})}


def _lines(config: Config) -> Iterator[str]:
    tree = _tree(config)
    plain = _tree(Config())
    for section, values in tree.items():
        if section == "agents":
            for name, agent in values.items():
                standard = _flat(asdict(AgentConfig(name="", kind=agent["kind"])))
                if agent.get("mode") == "pilot":
                    standard |= asdict(Pilots())
                standard["kind"] = AgentConfig(name="").kind
                yield from _section(f"agents.{name}", agent, standard)
        elif isinstance(values, dict):
            yield from _section(section, values, plain[section])


def _section(name: str, values: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    for field, value in values.items():
        mark = "" if value != defaults[field] else "# "
        yield f"{mark}{_KEYS.get(field, field)} = {_text(field, value)}"
    yield ""


def _text(field: str, value: Any) -> str:
    """A value as the file spells it."""
    if value is None:
        return '"never"'
    if field == "slots":
        return str(value or '"auto"')
    if field.endswith("_bytes"):
        return f'"{_with_unit(value, _SIZES)}"'
    if field.endswith("_s"):
        return f'"{_with_unit(value, _TIMES)}"'
    return json.dumps(value)


def _with_unit(value: float, units: Mapping[str, float]) -> str:
    """The shortest exact spelling: 90d and not 7776000s."""
    for unit in sorted(units, key=units.__getitem__, reverse=True):
        if value >= units[unit] and value % units[unit] == 0:
            return f"{int(value // units[unit])}{unit}"
    smallest = min(units, key=units.__getitem__)
    return f"{value / units[smallest]:g}{smallest}"
