"""The keys of agents of kind "condor": how jobs are submitted, and how many."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from spoolmw.format.keyed import Reader, Unfit, shown
from spoolmw.format.units import describe
from spoolmw.format.values import duration, matching, one_of, size, text, whole, yes_or_no

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
    "job_max_vacate_time": "a job has a minute to save; for pilots say vacate_grace",
    "kill_sig": "the runner is told by TERM",
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

POOL: Mapping[str, Reader] = {
    "mode": one_of("job", "pilot"),
    "schedd": matching(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,255}", "a schedd's name"),
    "collector": matching(r"[A-Za-z0-9\[][A-Za-z0-9_.:,\[\]-]{0,255}", "a host, or host:port"),
    "tokens": _FOLDER,
    "condor_config": _FOLDER,
    "remote": yes_or_no,
    "shared_files": yes_or_no,
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

#: What the record calls a key, where that is another word.
POOL_FIELD_NAMES = {
    "request_memory": "request_memory_bytes",
    "request_disk": "request_disk_bytes",
    "lease": "lease_s",
    "silent": "silent_s",
    "poll": "poll_s",
    "checkpoint_every": "checkpoint_every_s",
    "remote": "is_remote",
}

__all__ = ["DAY_S", "OWNED", "POOL", "POOL_FIELD_NAMES", "Pool"]
