"""Reads `spoolmw.toml`, strictly: what cannot be used is refused with the nearest right key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoolmw.configagents import (
    AGENT_FIELD_NAMES,
    AgentConfig,
    Boinc,
    Pilots,
    Pool,
    agents_of,
    changed_keys,
)
from spoolmw.errors import BadConfig
from spoolmw.format.arrays import MOST_ELEMENTS
from spoolmw.format.forms import BadForm, Written, read_toml
from spoolmw.format.keyed import Reader, Unfit, place_of, read_table, unknown_key
from spoolmw.format.names import escape
from spoolmw.format.values import (
    duration,
    list_of,
    matching,
    one_of,
    size,
    text,
    whole,
)

FILE_NAME = "spoolmw.toml"
DAY_S = 86400.0
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What is taken from `incoming/`."""

    settle_s: float = 1.0  #: a file written in place is whole after so long without a change
    scan_s: float = 1.0  #: between two looks at the folder where no watch reaches
    max_task_bytes: int = 4_000_000_000
    group: str = (
        ""  #: files of this group's members are taken too; empty: only the daemon's own
    )
    allow_paths: tuple[str, ...] = ()  #: inputs may be taken from below these folders
    max_elements: int = 10_000_000  #: of one array


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """How arrays become tasks."""

    window: int = (
        4096  #: elements that are tasks at one time; shared by the arrays that are open
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in seconds; None: for ever."""

    results_s: float | None = None
    story_s: float | None = 90 * DAY_S
    logs_s: float | None = 30 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    low_bytes: int = 1_000_000_000  #: with less free, intake stops


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Programs that get a result's trailer on standard input; empty: none."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    grace_s: float = 30.0  #: that running attempts get at a stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What comparing the results of one task may take."""

    step_s: float = 60.0  #: for one comparison, or for reading one result
    total_s: float = 600.0


_LOCAL = AgentConfig(name="local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; without a file, one agent `local`."""

    intake: Intake = field(default_factory=Intake)
    arrays: Arrays = field(default_factory=Arrays)
    agents: tuple[AgentConfig, ...] = (_LOCAL,)
    retention: Retention = field(default_factory=Retention)
    disk: Disk = field(default_factory=Disk)
    hooks: Hooks = field(default_factory=Hooks)
    daemon: Daemon = field(default_factory=Daemon)
    validation: Validation = field(default_factory=Validation)
    log: Log = field(default_factory=Log)
    source: Path | None = None  #: the file that it was read from

    @staticmethod
    def load(path: Path | str | None) -> Config:
        """The configuration in the file `path`; the defaults for None. Raises `BadConfig`."""
        if path is None:
            return Config()
        file = Path(path)
        try:
            with file.open("rb") as stream:
                data = stream.read(_MOST_BYTES + 1)
        except OSError as problem:
            raise BadConfig(
                f"The configuration {escape(str(path))} cannot be read.",
                why=_why_unread(file, problem),
                fix="put the file there, or name another one with --config;"
                " without any the defaults hold",
            ) from None
        return parse(data, file)

    @staticmethod
    def find(spool: Path, given: Path | str | None = None) -> Config:
        """The configuration `given`, else `spoolmw.toml` beside the spool, else none."""
        if given is not None:
            return Config.load(given)
        beside = spool.absolute().parent / FILE_NAME
        return Config.load(beside if os.path.lexists(beside) else None)


def _why_unread(file: Path, problem: OSError) -> str:
    if isinstance(problem, FileNotFoundError) and file.is_symlink():
        return f"it is a link to {escape(str(file.readlink()))}, and nothing is there"
    return problem.strerror or str(problem)


def parse(data: bytes, source: Path) -> Config:
    """The configuration that the text of a file asks for. Raises `BadConfig`."""
    written: Written | None = None
    try:
        if len(data) > _MOST_BYTES:
            raise BadForm("it is longer than 256 KiB")
        written = read_toml(data)
        return Config(**_sections(written.tree), source=source)
    except (Unfit, BadForm) as problem:
        raise _refusal(problem, written, source) from None


def _refusal(problem: Unfit | BadForm, written: Written | None, source: Path) -> BadConfig:
    path = problem.path if isinstance(problem, Unfit) else ()
    line = (
        written.line(path) if written else problem.line if isinstance(problem, BadForm) else 0
    )
    return BadConfig(
        f"The configuration {escape(str(source))} cannot be used{place_of(path, line)}.",
        why=escape(problem.why),
        fix=escape(problem.fix) or "see docs/configuration.md",
    )


def _never_or(reader: Reader) -> Reader:
    return lambda raw: None if raw == "never" else reader(raw)


_FOLDER = matching(r"/[^\x00-\x1f\x7f]*", "an absolute path")
_PROGRAM = list_of(text(), hint='write the words apart: ["/usr/bin/mail", "ann"]')

_SECTIONS: Mapping[str, tuple[Callable[..., object], Mapping[str, Reader]]] = {
    "intake": (
        Intake,
        {
            "settle_s": duration(least=0, most=3600),
            "scan_s": duration(least=0.01, most=3600),
            "max_task_bytes": size(least=65536),
            "group": matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", "a group's name"),
            "allow_paths": list_of(_FOLDER),
            "max_elements": whole(1, MOST_ELEMENTS),
        },
    ),
    "arrays": (Arrays, {"window": whole(16, 1_000_000)}),
    "retention": (
        Retention,
        {
            "results": _never_or(duration(least=1)),
            "story": _never_or(duration(least=1)),
            "logs": _never_or(duration(least=1)),
        },
    ),
    "disk": (Disk, {"low": size(least=0)}),
    "hooks": (Hooks, {"done": _PROGRAM, "failed": _PROGRAM, "timeout": duration()}),
    "daemon": (Daemon, {"grace": duration(least=0, most=86400)}),
    "validation": (
        Validation,
        {"step": duration(least=1, most=86400), "total": duration(least=1, most=86400)},
    ),
    "log": (Log, {"level": one_of("debug", "info", "warning", "error")}),
}

#: What the records call a key, where that is another word.
FIELD_NAMES = {
    "results": "results_s",
    "story": "story_s",
    "logs": "logs_s",
    "low": "low_bytes",
    "timeout": "timeout_s",
    "grace": "grace_s",
    "step": "step_s",
    "total": "total_s",
    **AGENT_FIELD_NAMES,
}


def _sections(tree: Mapping[str, object]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, raw in tree.items():
        try:
            if key == "agents":
                made[key] = agents_of(raw)
            elif key in _SECTIONS:
                record, readers = _SECTIONS[key]
                made[key] = record(**_fields(raw, readers))
            else:
                raise unknown_key(key, ("agents", *_SECTIONS))
        except Unfit as problem:
            raise (problem if problem.path[:1] == (key,) else problem.below(key)) from None
    return made


def _fields(raw: object, readers: Mapping[str, Reader]) -> dict[str, Any]:
    return {FIELD_NAMES.get(key, key): value for key, value in read_table(raw, readers).items()}


__all__ = [
    "AgentConfig",
    "Arrays",
    "Boinc",
    "Config",
    "Daemon",
    "Disk",
    "Hooks",
    "Intake",
    "Log",
    "Pilots",
    "Pool",
    "Retention",
    "Validation",
    "changed_keys",
    "parse",
]
