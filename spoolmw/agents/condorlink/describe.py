"""How attempts become jobs: those that are alike share a cluster and its description. No I/O.

Rule: what came from a task is quoted, or is a number; what came from the configuration is a line
of the submit description as condor_submit knows it, and never one that the agent writes itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_OUTLASTS_S = 600.0  #: beyond its own limit the pool stops a job that its runner did not
_VACATE_S = 60  #: for an attempt to save its progress when its host is wanted back
_KEPT_S = 10 * 86400  #: a job that is over stays in the queue for its spool; HTCondor's own
_MB = 1 << 20
_LEAST_MEMORY_MB = 64  #: the runner's own
_PLATFORMS = {"linux": "LINUX", "x86_64": "X86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_UNFIT_PATH = re.compile(r'[\x00-\x1f\x7f$"\\]|^\s|\s$')

#: Attributes by which our jobs are found again.
SPOOL, ATTEMPT, TOKEN = "SpoolmwSpool", "SpoolmwAttempt", "SpoolmwToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What all jobs of an agent have in common."""

    spool_id: str  #: names this spool and agent, hex
    launcher: str  #: path of the executable
    arguments: str = ""  #: of the launcher, plain words
    log: str  #: path of the event log; empty: none of our own
    lease_s: float = 300.0
    memory_bytes: int = 1_000_000_000  #: for who asks for none
    disk_bytes: int = 1_000_000_000  #: besides the inputs
    platform: str = "linux-x86_64"
    shared_files: bool = False
    is_remote: bool = False
    submit: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An attempt whose folder is ready."""

    attempt: str
    token: str
    kind: Mapping[str, Any]
    folder: str
    files: Sequence[str] = ()  #: names in the folder that travel
    size_bytes: int = 0  #: of these together


class Group(NamedTuple):
    """Jobs that are submitted at once: a description, and for each job what differs."""

    lines: Mapping[str, str]
    items: list[dict[str, str]]
    attempts: list[str]


def groups(work: Iterable[Packed], manner: Manner, *, most: int = 200) -> list[Group]:
    """One cluster for those that are alike, of at most `most` jobs each."""
    found: dict[tuple[tuple[str, str], ...], list[Packed]] = {}
    for each in work:
        found.setdefault(tuple(_lines(each, manner).items()), []).append(each)
    return [
        Group(dict(lines), [_item(each, manner) for each in part], [e.attempt for e in part])
        for lines, alike in found.items()
        for part in (alike[at : at + most] for at in range(0, len(alike), most))
    ]


def unfit(path: str) -> str:
    """Why a spool at this path can have no jobs; empty: it can."""
    if _UNFIT_PATH.search(path):
        return f"the path {path!a} has a $, a quote, a backslash or a control character in it"
    return ""


def _lines(work: Packed, manner: Manner) -> dict[str, str]:
    """What is the same for all jobs of a cluster."""
    kind = work.kind
    lines = {
        "universe": "vanilla",
        "batch_name": "spoolmw",
        "notification": "never",
        **dict(_plain(manner.submit)),
        "executable": manner.launcher,
        "arguments": f'"{manner.arguments}"',
        "initialdir": "$(folder)",
        "output": "job.out",
        "error": "job.err",
        "job_lease_duration": str(math.ceil(manner.lease_s)),
        "job_max_vacate_time": str(_VACATE_S),
        "request_cpus": str(int(kind.get("cpus", 1))),
        "request_memory": str(memory_mb(kind, manner)),
        "request_disk": "$(disk)",
        "requirements": " && ".join(requirements(kind, manner)),
        **_files(manner),
        f"+{SPOOL}": quoted(manner.spool_id),
        f"+{ATTEMPT}": '"$(attempt)"',
        f"+{TOKEN}": '"$(token)"',
    }
    if manner.log:
        lines["log"] = manner.log
    if kind.get("gpus"):
        lines["request_gpus"] = str(int(kind["gpus"]))
    if kind.get("time"):
        lines["allowed_execute_duration"] = str(math.ceil(kind["time"] + _OUTLASTS_S))
    return lines


def _files(manner: Manner) -> dict[str, str]:
    if manner.shared_files:
        return {"transfer_executable": "false", "should_transfer_files": "NO"}
    lines = {
        "transfer_executable": "true",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT_OR_EVICT",
        "transfer_input_files": "$(files)",
        "transfer_output_files": "out, checkpoints",
        "transfer_checkpoint_files": "checkpoints",
        "checkpoint_exit_code": "85",
    }
    # Else what it saved, or made, is gone before it could be fetched.
    over = "JobStatus == 3 || JobStatus == 4" if manner.is_remote else "JobStatus == 3"
    lines["leave_in_queue"] = f"({over}) && time() - EnteredCurrentStatus < {_KEPT_S}"
    return lines


def _item(work: Packed, manner: Manner) -> dict[str, str]:
    disk_kb = (work.size_bytes + manner.disk_bytes) // 1024 + 1
    return {
        "attempt": work.attempt,
        "token": work.token,
        "folder": work.folder,
        "disk": str(disk_kb),
        "files": ", ".join(work.files),
    }


def memory_mb(kind: Mapping[str, Any], manner: Manner) -> int:
    """What a job asks for, in MiB."""
    wanted = int(kind.get("memory", 0)) or manner.memory_bytes
    return max(_LEAST_MEMORY_MB, -(-wanted // _MB))


def requirements(kind: Mapping[str, Any], manner: Manner) -> list[str]:
    """What the machine must be, each part in brackets."""
    system, _, processor = (str(kind.get("platform", "")) or manner.platform).partition("-")
    parts = [
        f"(TARGET.OpSys == {quoted(_PLATFORMS.get(system, system.upper()))})",
        f"(TARGET.Arch == {quoted(_PLATFORMS.get(processor, processor.upper()))})",
    ]
    parts += [f"(TARGET.Machine =!= {quoted(each)})" for each in sorted(kind.get("avoid", ()))]
    parts += [f"({line})" for key, line in manner.submit if key.lower() == "requirements"]
    return parts


def _plain(submit: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((key, line) for key, line in submit if key.lower() != "requirements")


def quoted(text: str) -> str:
    """A text as a string of the ClassAd language."""
    safe = "".join(each for each in text if each.isprintable() and each != "$")
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ours(spool_id: str) -> str:
    """The constraint that finds the jobs of this spool and agent."""
    return f"{SPOOL} == {quoted(spool_id)}"
