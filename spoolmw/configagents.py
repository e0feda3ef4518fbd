"""The sections `[agents.NAME]` of the configuration: which keys an agent of which kind has.

The keys of one engine lie in a record of their own (`Pool`), in the file they stand with the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spoolmw.configpilots import JOBS_ONLY, PILOT_FIELD_NAMES, PILOTS, Pilots
from spoolmw.format.hosts import host_patterns
from spoolmw.format.keyed import Reader, Unfit, nearest, read_table, shown
from spoolmw.format.units import describe
from spoolmw.format.values import (
    duration,
    list_of,
    matching,
    one_of,
    size,
    text,
    whole,
)

DAY_S = 86400.0
GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What an agent of kind "condor" has besides: how its jobs are submitted, and how many."""

    mode: str = "job"  #: one job for each attempt, or "pilot": jobs that take many
    schedd: str = ""  #: its name; empty: the one of this machine
    collector: str = ""  #: "host:port"; empty: as HTCondor's own configuration says
    tokens: str = ""  #: a folder of IDTOKENS; empty: as HTCondor's own configuration says
    condor_config: str = ""  #: HTCondor's own configuration; empty: where it looks by itself
    is_remote: bool = (
        False  #: the files travel to and from the schedd too (`condor_submit -spool`)
    )
    shared_files: bool = False  #: the execute hosts see the spool under the same path
    event_log: str = ""  #: the schedd's global EVENT_LOG; empty: a log of the agent's own
    max_jobs: int = 1000  #: in the queue at one time; a task of n cpus counts n times
    max_idle: int = 50  #: of these, that wait for a machine
    max_gpus: int = 0  #: that jobs may ask for together
    request_memory_bytes: int = 1 * GB  #: for tasks that name none
    request_disk_bytes: int = 1 * GB  #: besides the inputs
    lease_s: float = 300.0  #: so long without a word from its host, and a job runs elsewhere
    checkpoint_every_s: float = 600.0  #: between two saves that a running job hands over
    silent_s: float = 3600.0  #: so long without a word of its starter, and it counts as lost
    poll_s: float = 60.0  #: between two questions to the schedd, where its log tells the news
    platform: str = "linux-x86_64"  #: of the execute hosts that are used
    submit: tuple[tuple[str, str], ...] = ()  #: further lines of the submit description


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


#: What the records call a key, where that is another word.
AGENT_FIELD_NAMES = {
    "memory": "memory_bytes",
    "give_up": "give_up_s",
    "request_memory": "request_memory_bytes",
    "request_disk": "request_disk_bytes",
    "lease": "lease_s",
    "silent": "silent_s",
    "poll": "poll_s",
    "checkpoint_every": "checkpoint_every_s",
    "remote": "is_remote",
    **PILOT_FIELD_NAMES,
}

#: Of an agent of kind "condor", where that is another value than other kinds have.
_CONDOR_DEFAULTS = {"give_up_s": DAY_S}


def _slots(raw: object) -> object:
    return 0 if raw == "auto" else whole(1, 4096)(raw)


def _device(raw: object) -> object:
    if type(raw) is int and 0 <= raw < 1024:
        return str(raw)
    return matching(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}", "a device's id")(raw)


def _yes_or_no(raw: object) -> object:
    if not isinstance(raw, bool):
        raise Unfit(f"true or false was expected, not {describe(raw)}")
    return raw


#: Lines of a submit description that the agent writes itself, each with what to do instead.
OWNED = {
    "executable": "the agent brings its own",
    "arguments": "the agent brings its own",
    "args": "the agent brings its own",
    "queue": "the agent queues one job for each attempt",
    "log": "the agent reads it; say event_log if the schedd has a global one",
    "initialdir": "each attempt has a folder of its own",
    "initial_dir": "each attempt has a folder of its own",
    "iwd": "each attempt has a folder of its own",
    "transfer_input_files": 'name what the task needs in its own "inputs"',
    "transfer_output_files": 'name what the task makes in its own "outputs"',
    "transfer_output_remaps": 'name what the task makes in its own "outputs"',
    "transfer_executable": "the agent decides it by shared_files",
    "should_transfer_files": "say shared_files = true or false",
    "when_to_transfer_output": "the agent decides it",
    "transfer_checkpoint_files": "the agent decides it by the task's [checkpoint]",
    "checkpoint_exit_code": "the agent decides it by the task's [checkpoint]",
    "job_lease_duration": 'say lease = "5m"',
    "leave_in_queue": "the agent takes its jobs out of the queue",
    "request_cpus": "it is what the task asks for in [resources] cpus",
    "request_gpus": "it is what the task asks for in [resources] gpus",
    "request_memory": "say it without [submit], for tasks that ask for none themselves",
    "request_disk": "say it without [submit]",
    "output": "what the task prints comes with its result",
    "error": "what the task prints comes with its result",
    "input": "a task reads no standard input",
    "on_exit_hold": "a job that ends is collected",
    "on_exit_remove": "a job that ends is collected",
    "max_retries": "a task's own [retry] counts",
    "retry_until": "a task's own [retry] counts",
    "hold": "to keep tasks back say spoolmw-ctl pause",
}
_COMMAND = re.compile(r"[+]?[A-Za-z_][A-Za-z0-9_.]{0,127}", re.ASCII)


def _submit_lines(raw: object) -> object:
    """The table [agents.NAME.submit]: commands as condor_submit knows them."""
    if not isinstance(raw, dict):
        raise Unfit(
            f"a section was expected, not {describe(raw)}",
            '[agents.pool.submit] and below it accounting_group = "physics"',
        )
    return tuple((key, _submit_line(key, value)) for key, value in raw.items())


def _submit_line(key: str, value: object) -> str:
    plain = key.lower()
    if not _COMMAND.fullmatch(key):
        raise Unfit(
            f"{shown(key)} is no submit command", 'as accounting_group, "+Project"', (key,)
        )
    if plain in OWNED:
        raise Unfit("the agent writes this line itself", OWNED[plain], (key,))
    if re.fullmatch(r"(\+|my\.)spoolmw\w*", plain):
        raise Unfit(
            "attributes of that name are the agent's own", "choose another name", (key,)
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    try:
        return str(text()(value))
    except Unfit as problem:
        raise problem.below(key) from None


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
    "hosts": host_patterns,
    "hosts_file": _FOLDER,
    "user": matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", "a user's name"),
    "ssh_config": _FOLDER,
    "folder": matching(r"/[A-Za-z0-9/._+-]*", "an absolute path of plain characters"),
    **_AFAR,
}

_POOL: Mapping[str, Reader] = {
    "mode": one_of("job", "pilot"),
    "schedd": matching(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,255}", "a schedd's name"),
    "collector": matching(r"[A-Za-z0-9\[][A-Za-z0-9_.:,\[\]-]{0,255}", "a host, or host:port"),
    "tokens": _FOLDER,
    "condor_config": _FOLDER,
    "remote": _yes_or_no,
    "shared_files": _yes_or_no,
    "event_log": _FOLDER,
    "max_jobs": whole(1, 100_000),
    "max_idle": whole(1, 100_000),
    "max_gpus": whole(0, 100_000),
    "request_memory": size(),
    "request_disk": size(),
    "lease": duration(least=20, most=DAY_S),
    "silent": duration(least=5, most=7 * DAY_S),
    "poll": duration(least=1, most=3600),
    "checkpoint_every": duration(least=1, most=31_622_400),
    "platform": matching(r"[a-z]+-[a-z0-9_]+", 'a platform, as "linux-x86_64"'),
    "submit": _submit_lines,
}

_CONDOR_PLAIN = ("kind", "interpreters", "path", "home", "env", "owner")
_CONDOR: Mapping[str, Reader] = {
    **{key: _AGENT[key] for key in _CONDOR_PLAIN},
    **_AFAR,
    **_POOL,
}

_CONDOR_PILOT: Mapping[str, Reader] = {
    **{key: reader for key, reader in _CONDOR.items() if key not in JOBS_ONLY},
    **{key: _AGENT[key] for key in ("slots", "memory")},
    **PILOTS,
}

#: Kinds with keys of their own, each with all that it has.
_KINDS: Mapping[str, Mapping[str, Reader]] = {
    "ssh": {**_AGENT, **_SSH},
    "condor": _CONDOR,
    "process": {**_AGENT, **_AFAR, **PILOTS},
}
#: Keys that lie in a record of their own, by the field that holds it.
_RECORDS: Mapping[str, tuple[Mapping[str, Reader], Callable[..., object]]] = {
    "pool": (_POOL, Pool),
    "pilots": (PILOTS, Pilots),
}
#: What to say instead of a key that other kinds have.
_INSTEAD = {
    "slots": "say max_jobs and max_idle",
    "gpus": "say max_gpus",
    "memory": "the pool knows its machines; request_memory is for tasks that ask for none",
    "machine": "each job has the machine that it runs on",
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


def _agent(name: str, settings: Mapping[str, object]) -> AgentConfig:
    values: dict[str, Any] = {
        AGENT_FIELD_NAMES.get(key, key): value
        for key, value in read_table(settings, _keys_of(settings)).items()
    }
    if settings.get("kind") == "condor" and settings.get("mode") != "pilot":
        values = {**_CONDOR_DEFAULTS, **values}
    for field_name, (keys, record) in _RECORDS.items():
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
        if kind == "condor" and key in _INSTEAD:
            raise Unfit("an agent of kind condor has no such key", _INSTEAD[key], (key,))
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


__all__ = ["AGENT_FIELD_NAMES", "OWNED", "AgentConfig", "Pool", "agents_of"]
