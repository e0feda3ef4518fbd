"""The sections `[agents.NAME]` of the configuration: which keys an agent of which kind has.

The keys of one engine lie in a record of their own (`Pool`), in the file they stand with the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from spoolmw.configboinc import BOINC, BOINC_FIELD_NAMES, BOINC_INSTEAD, Boinc
from spoolmw.configpilots import JOBS_ONLY, PILOT_FIELD_NAMES, PILOTS, Pilots
from spoolmw.configpool import DAY_S, POOL, POOL_FIELD_NAMES, Pool
from spoolmw.format.hosts import host_patterns
from spoolmw.format.keyed import Reader, Unfit, nearest, read_table
from spoolmw.format.values import duration, list_of, matching, one_of, size, text, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One place that runs attempts."""

    name: str
    kind: str = "local"
    slots: int = 0  #: 0: one for each usable core ("auto")
    gpus: tuple[str, ...] = ()  #: ids of devices
    memory_bytes: int = 0  #: that attempts may reserve together; 0: what the machine has
    interpreters: tuple[str, ...] = ()  #: looked for where a task's own does not exist
    path: str = "/usr/local/bin:/usr/bin:/bin"  #: $PATH of attempts
    home: str = ""  #: $HOME of attempts; empty: that of the daemon's user
    env: tuple[str, ...] = ()  #: variables of the daemon that attempts get too
    owner: str = ""  #: whose machine it is, for `distinct = "owner"`
    machine: str = ""  #: for tests: the agent stands for this machine, not for the one it is on
    # The following are for kinds with hosts only.
    hosts: tuple[str, ...] = ()  #: patterns: "pc[01-40].lab", "ann@pc03:2222"
    hosts_file: str = ""  #: a file with more of them
    user: str = ""  #: who logs in; empty: as the ssh configuration says
    ssh_config: str = ""  #: read instead of ~/.ssh/config and /etc/ssh/ssh_config
    folder: str = ""  #: for our files on the host; empty: /var/tmp/spoolmw-UID
    python: tuple[str, ...] = ()  #: interpreters on the host, tried before any that is found
    runner_python: str = "auto"  #: "auto": what the host has; "bundle": ours travels
    give_up_s: float = 120.0  #: so long without a connection, and attempts run elsewhere
    pool: Pool = field(default_factory=Pool)  #: of kind "condor" only
    pilots: Pilots = field(default_factory=Pilots)  #: of kinds whose jobs call the daemon
    boinc: Boinc = field(default_factory=Boinc)  #: of kind "boinc" only


#: What the records call a key, where that is another word.
AGENT_FIELD_NAMES = {
    "memory": "memory_bytes",
    "give_up": "give_up_s",
    **POOL_FIELD_NAMES,
    **PILOT_FIELD_NAMES,
    **BOINC_FIELD_NAMES,
}

#: The other way round: what the file calls a field of the records.
_KEY_NAMES = {each: key for key, each in AGENT_FIELD_NAMES.items()}

#: Of agents whose jobs need no connection, where that is another value than other kinds have.
_ENGINE_DEFAULTS = {"give_up_s": DAY_S}


def _slots(raw: object) -> object:
    return 0 if raw == "auto" else whole(1, 4096)(raw)


def _device(raw: object) -> object:
    if type(raw) is int and 0 <= raw < 1024:
        return str(raw)
    return matching(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}", "a device's id")(raw)


_FOLDER = matching(r"/[^\x00-\x1f\x7f]*", "an absolute path")
_VARIABLE = matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a variable's name")
_PLAIN_NAME = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name")

_AGENT: Mapping[str, Reader] = {
    "kind": matching(r"[a-z][a-z0-9_-]{0,31}", "a kind of agent"),
    "slots": _slots,
    "gpus": list_of(_device),
    "memory": size(),
    "interpreters": list_of(_FOLDER),
    "path": text(),
    "home": _FOLDER,
    "env": list_of(_VARIABLE),
    "owner": _PLAIN_NAME,
    "machine": _PLAIN_NAME,
}

#: Of kinds whose hosts are others than the daemon's.
_AFAR: Mapping[str, Reader] = {
    "python": list_of(
        matching(r"[A-Za-z0-9/][A-Za-z0-9/._+-]{0,255}", "a Python's name or path")
    ),
    "runner_python": one_of("auto", "bundle"),
    "give_up": duration(least=1, most=31_622_400),
}

_SSH: Mapping[str, Reader] = {
    **{key: reader for key, reader in _AGENT.items() if key != "machine"},
    "hosts": host_patterns,
    "hosts_file": _FOLDER,
    "user": matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", "a user's name"),
    "ssh_config": _FOLDER,
    "folder": matching(r"/[A-Za-z0-9/._+-]*", "an absolute path of plain characters"),
    **_AFAR,
}

_CONDOR_PLAIN = ("kind", "interpreters", "path", "home", "env", "owner")
_CONDOR: Mapping[str, Reader] = {
    **{key: _AGENT[key] for key in _CONDOR_PLAIN},
    **_AFAR,
    **POOL,
}

_CONDOR_PILOT: Mapping[str, Reader] = {
    **{key: reader for key, reader in _CONDOR.items() if key not in JOBS_ONLY},
    **{key: _AGENT[key] for key in ("slots", "memory")},
    **PILOTS,
}

_PROCESS: Mapping[str, Reader] = {
    **{key: reader for key, reader in _AGENT.items() if key != "gpus"},
    **{key: _AFAR[key] for key in ("python", "give_up")},
    **PILOTS,
}

_BOINC: Mapping[str, Reader] = {
    **{key: _AGENT[key] for key in ("kind", "interpreters", "path", "env")},
    **{key: _AFAR[key] for key in ("python", "give_up")},
    **BOINC,
}

#: Kinds with keys of their own, each with all that it has.
_KINDS: Mapping[str, Mapping[str, Reader]] = {
    "ssh": _SSH,
    "condor": _CONDOR,
    "process": _PROCESS,
    "boinc": _BOINC,
}
_Records = Mapping[str, tuple[Mapping[str, Reader], Callable[..., object]]]
#: Keys that lie in a record of their own, by the field that holds it.
_RECORDS: _Records = {"pool": (POOL, Pool), "pilots": (PILOTS, Pilots)}
_BOINC_RECORDS: _Records = {"boinc": (BOINC, Boinc)}
#: What to say instead of a key that other kinds have, by kind.
_INSTEAD: Mapping[str, Mapping[str, str]] = {
    "boinc": BOINC_INSTEAD,
    "condor": {
        "slots": "say max_jobs and max_idle",
        "gpus": "say max_gpus",
        "memory": "the pool knows its machines; request_memory is for tasks that ask for none",
        "machine": "each job has the machine that it runs on",
    },
    "ssh": {"machine": "each host is the machine that it is"},
    "process": {
        "gpus": "pilots of one machine would hand out the same devices",
        "runner_python": "pilots have the daemon's own Python; say python for another",
    },
}


def agents_of(raw: object) -> tuple[AgentConfig, ...]:
    """The agents of a configuration's section `agents`. Raises Unfit."""
    if not isinstance(raw, dict) or not raw:
        raise Unfit("there is no agent in it", "[agents.local]")
    agents = []
    for name, settings in raw.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name, re.ASCII):
            raise Unfit("this is no name of an agent", "[agents.local]", (name,))
        if not isinstance(settings, dict):
            near = nearest(name, _AGENT)
            raise Unfit("an agent is a section", f"[agents.local] {near} = ...", (name,))
        try:
            agents.append(_agent(name, settings))
        except Unfit as problem:
            raise problem.below(name) from None
    return tuple(agents)


def changed_keys(old: object, fresh: object) -> list[str]:
    """The keys in which two sections differ, as the file calls them."""
    changed = []
    for each in fields(old):  # type: ignore[arg-type]  # a section is a record, and so are parts of it
        before, after = getattr(old, each.name), getattr(fresh, each.name)
        if is_dataclass(before):
            changed += changed_keys(before, after)
        elif before != after:
            changed.append(_KEY_NAMES.get(each.name, each.name))
    return changed


def _agent(name: str, settings: Mapping[str, object]) -> AgentConfig:
    values: dict[str, Any] = {
        AGENT_FIELD_NAMES.get(key, key): value
        for key, value in read_table(settings, _keys_of(settings)).items()
    }
    kind = settings.get("kind")
    if kind == "boinc" or (kind == "condor" and settings.get("mode") != "pilot"):
        values = {**_ENGINE_DEFAULTS, **values}
    records = _BOINC_RECORDS if kind == "boinc" else _RECORDS
    for field_name, (keys, record) in records.items():
        own = {AGENT_FIELD_NAMES.get(key, key) for key in keys} & values.keys()
        values[field_name] = record(**{key: values.pop(key) for key in own})
    return AgentConfig(name=name, **values)


def _keys_of(settings: Mapping[str, object]) -> Mapping[str, Reader]:
    """The keys that an agent of this kind has."""
    kind = settings.get("kind")
    if kind == "condor" and settings.get("mode") == "pilot":
        return _keys_of_pilots(settings)
    known = _KINDS.get(kind, _AGENT) if isinstance(kind, str) else _AGENT
    for key in settings:
        if key in known:
            continue
        if kind == "condor" and key in PILOTS:
            raise Unfit("only pilots have this key", 'write mode = "pilot"', (key,))
        instead = _INSTEAD.get(str(kind), {})
        if key in instead:
            raise Unfit(f"an agent of kind {kind} has no such key", instead[key], (key,))
        kinds = [each for each, keys in _KINDS.items() if key in keys]
        if kinds:
            word = " or ".join(kinds)
            raise Unfit(
                f"only an agent of kind {word} has this key",
                f'write kind = "{kinds[0]}"',
                (key,),
            )
    return known


def _keys_of_pilots(settings: Mapping[str, object]) -> Mapping[str, Reader]:
    for key in settings:
        if key in JOBS_ONLY:
            raise Unfit("pilots have no such key", JOBS_ONLY[key], (key,))
    return _CONDOR_PILOT


__all__ = [
    "AGENT_FIELD_NAMES",
    "AgentConfig",
    "Boinc",
    "Pilots",
    "Pool",
    "agents_of",
    "changed_keys",
]
