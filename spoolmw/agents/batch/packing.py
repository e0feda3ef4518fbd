"""Makes the folder of a batch job: `in/`, all that the attempt needs, and `back/` for what comes back.

Rule 1: nothing is copied where it can be linked: a hundred jobs with one input of 100 MB take
no room, and the content stays for as long as a job that waits needs it.
Rule 2: what comes back goes to a folder without links: a batch system writes through them, so a
host could change the spool's own files.
Rule 3: names are plain, whatever users called their files: batch systems put them into lists.
Rule 4: with `shared_files` nothing travels: the order names the spool's own files, and `back/` is
where the job runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spoolmw.agents.carrier import giving
from spoolmw.agents.carrier.book import Given
from spoolmw.errors import AgentError
from spoolmw.runner import checkpoint, outputs, reading, results, sandbox
from spoolmw.runner.order import split

SOURCE, HOME = "in", "back"  #: in a job's folder
TASK = "task"  #: what the task's file is called in the folder
LAUNCHER = Path(__file__).with_name("launch.sh")
_MODE = 0o700
_MOST_KNOWN = 4096  #: digests

#: Variables of a batch system that its jobs usually need.
INHERITED = ("TMPDIR", "OMP_NUM_THREADS", "X509_USER_PROXY", "_CONDOR_SCRATCH_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What all jobs of an agent have in common."""

    agent: str  #: its workers' names begin so; a part of folders' names
    env: Mapping[str, str] = field(default_factory=dict)  #: over what is on the host
    umask: int = 0o022
    interpreters: Sequence[str] = ()  #: for calls, tried on the host in this order
    setup: Mapping[str, Any] = field(default_factory=dict)  #: what else the runner is told
    inherit: Sequence[str] = INHERITED
    shared_files: bool = False  #: the hosts see the spool under the same path
    checkpoint_exit: int = 0  #: the code that says "start me again"; 0: there is none
    checkpoint_every_s: float = 600.0  #: between two of these
    grace_s: float = 30.0  #: between the batch system's TERM and our KILL


@dataclass(frozen=True, slots=True)
class Packed:
    """A job's folder that is complete."""

    folder: Path
    given: Given
    #: Names in `source` that travel with the job (files, and the folder of checkpoints).
    #: The runner and a Python that goes along are the agent's to add there.
    travels: tuple[str, ...]
    size_bytes: int  #: of all that the attempt needs

    @property
    def source(self) -> Path:
        """What travels lies here."""
        return self.folder / SOURCE

    @property
    def home(self) -> Path:
        """Where `out/` and `checkpoints/` come back; a job with shared files runs here."""
        return self.folder / HOME


def cannot_be_made(attempt: str, root: Path, error: OSError | reading.Damaged) -> AgentError:
    """What the spool at `root` has not, or has no room for."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return AgentError(
        f"the job of attempt {attempt} cannot be made",
        why=f"{getattr(error, 'filename', None) or root}: {text}",
        fix="is the spool's disk full? else look with spoolmw-ctl fsck",
    )


class Packer:
    """Makes jobs' folders for one spool; remembers digests of what many jobs need."""

    def __init__(self, root: Path, manner: Manner) -> None:
        self._root = root
        self._manner = manner
        self._known: dict[tuple[str, int, int, int], tuple[int, str]] = {}

    def pack(self, kind: Mapping[str, Any], packet: str, folder: Path) -> Packed:
        """Make `folder` for the attempt in `packet`, which the ledger gave with that `kind`.

        A folder that is there already is made anew. Raises AgentError.
        """
        attempt, token, rest = packet.split("\n", 2)
        given = Given(attempt, token, split(rest)[0], dict(kind))
        try:
            outputs.remove(str(folder))
            for each in (folder, folder / SOURCE, folder / HOME):
                each.mkdir(_MODE, parents=True)
            place = folder / (HOME if self._manner.shared_files else SOURCE)
            come = self._gather(given, place)
            size = sum(each.size for each in come)
            (place / sandbox.CHECKPOINTS).mkdir(_MODE)
            size += self._checkpoint(given, place)
            self._order(given, packet, come, place)
        except (OSError, reading.Damaged) as error:
            raise cannot_be_made(attempt, self._root, error) from error
        names = (sandbox.ORDER, *(each.source for each in come), sandbox.CHECKPOINTS)
        return Packed(folder, given, () if self._manner.shared_files else names, size)

    def _gather(self, given: Given, folder: Path) -> list[sandbox.Come]:
        """The task's file, its inputs and the values that it takes."""
        needed = needs(self._root, given.path)
        return [self._bring(each.place, each.name, folder, each.digest) for each in needed]

    def _bring(self, place: str, name: str, folder: Path, digest: str = "") -> sandbox.Come:
        path = str(self._root / place)
        if digest:
            size = os.stat(path).st_size
        else:
            size, digest = self._digest(path)
        if self._manner.shared_files:
            return sandbox.Come(place, path, size, digest)
        _link(path, str(folder / name))
        return sandbox.Come(place, name, size, digest)

    def _digest(self, path: str) -> tuple[int, str]:
        found = os.stat(path)
        key = (path, found.st_ino, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = results.digest_of(path)
        return self._known[key]

    def _checkpoint(self, given: Given, folder: Path) -> int:
        """The replica's newest whole one that counts; its bytes."""
        task, replica, _ = given.attempt.split(".")
        owner = checkpoint.Owner(f"{self._root}/checkpoints", task, int(replica))
        if not os.path.isdir(owner.folder):
            return 0
        kind = "command" if given.kind.get("command") else "call"
        found, _ = checkpoint.newest(owner, kind, given.kind.get("since", 0))
        if found is None:
            return 0
        target = folder / sandbox.CHECKPOINTS / task / replica / found.name
        names = [each["name"] for each in found.manifest["files"]]
        for name in (*names, checkpoint.MANIFEST):
            (target / name).parent.mkdir(_MODE, parents=True, exist_ok=True)
            _link(f"{found.path}/{name}", str(target / name))
        return found.size_bytes

    def _order(self, given: Given, packet: str, come: list[sandbox.Come], folder: Path) -> None:
        with open(folder / sandbox.ORDER, "xb", opener=_private) as file:
            file.write(order_of(self._manner, given.kind, packet, come))


class Needed(NamedTuple):
    """A file of the spool that an attempt needs."""

    place: str  #: in the spool
    name: str  #: a plain one, for where it travels to
    digest: str = ""  #: SHA-256, where the name of the place says it


def needs(root: Path, path: str) -> list[Needed]:
    """What the task with the file `path` needs: that, its inputs, and the values that it takes.

    Raises OSError, reading.Damaged.
    """
    header = giving.interesting(f"{root}/{path}")
    inputs = (header.get("files") or {}).get("inputs") or ()
    digests = dict.fromkeys(each["sha256"] for each in inputs)
    tasks = dict.fromkeys(header.get("takes") or ())
    return [
        Needed(path, TASK),
        *(Needed(f"inputs/{digest}", digest, digest) for digest in digests),
        *(Needed(f"values/{task}", task) for task in tasks),
    ]


def order_of(
    manner: Manner, kind: Mapping[str, Any], packet: str, come: Sequence[sandbox.Come]
) -> bytes:
    """What stands in the order of an attempt."""
    setup = {
        "agent": manner.agent,
        "env": dict(manner.env),
        "umask": manner.umask,
        "interpreters": list(manner.interpreters),
        **manner.setup,
    }
    told = {
        "format": sandbox.FORMAT,
        "work": [[kind, [packet]]],
        "files": [list(each) for each in come],
        "setup": setup,
        "inherit": list(manner.inherit),
        "checkpoint_exit": manner.checkpoint_exit,
        "checkpoint_every_s": manner.checkpoint_every_s,
        "grace_s": manner.grace_s,
    }
    return json.dumps(told, separators=(",", ":")).encode()


def _link(source: str, target: str) -> None:
    """A second name of a file; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        outputs.copy(source, target, 0o600)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
