"""The folder of one batch job: what came with it (`order.json`), checked and laid out as a spool.

A batch system brings files flat, under plain names, or all hosts see them where they lie. So the
order says of each place in the spool which file stands for it, how long it is, and its digest.

Rule: nothing runs before all that came was found whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from . import greeting, hostfolder, outputs, printed, pythons, results, wire
from .attempt import Kind

FORMAT = 1  #: of the order, and of the report that answers it
ORDER = "order.json"
OUT = "out"  #: what comes back
CHECKPOINTS = "checkpoints"  #: they come and go with the job
BEFORE = "printed"  #: among the checkpoints: what a command had printed at the last one
TROUBLE = "trouble.json"  #: in `out/`, where no attempt could be run
#: Exit codes. 0: there is a report. The launcher has the first of them, the order names its own
#: for "I saved, start me again".
NO_PYTHON, DAMAGED, UNUSABLE, BROKEN, TERMINATED = 81, 82, 83, 84, 143
ABORTED = 194  #: nobody wants the attempt any more; the number is BOINC's
_MOST_ORDER_BYTES = 64 << 20
_DEVICES = "CUDA_VISIBLE_DEVICES"  #: what the batch system gave this job


class Trouble(Exception):
    """No attempt could be run, and through no fault of its own."""

    def __init__(self, code: int, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what, self.why, self.fix = what, why, fix


class Come(NamedTuple):
    """One file that came, or that lies where all hosts see it."""

    place: str  #: where it belongs in a spool
    source: str  #: relative to the order's folder, or absolute
    size: int
    sha256: str


class Errand(NamedTuple):
    """What an order says."""

    attempt: str
    token: str
    work: List[Any]  #: of a launch frame: one kind with one packet
    files: List[Come]
    setup: Dict[str, Any]  #: agent, env, umask, interpreters, values
    inherit: List[str]  #: variables of the batch system's that the task has too
    checkpoint_exit: int  #: 0: the batch system takes no checkpoints
    checkpoint_every_s: float
    grace_s: float  #: between the batch system's TERM and our KILL

    @property
    def kind(self) -> Kind:
        return Kind(self.work[0][0])

    @property
    def replica(self) -> Tuple[str, int]:
        """Its task, and the number of its replica."""
        task, replica, _ = self.attempt.split(".")
        return task, int(replica)


def read(folder: str, path: str = "") -> Errand:
    """The order in a job's folder, or at another path. Raises Trouble."""
    try:
        with open(path or f"{folder}/{ORDER}", "rb") as file:
            told = json.loads(file.read(_MOST_ORDER_BYTES))
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}, this runner knows {FORMAT}")
        return _errand(told)
    except OSError as error:
        raise _damaged(ORDER, error.strerror or str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(ORDER, str(error)) from error


def _errand(told: Dict[str, Any]) -> Errand:
    ((_, (packet,)),) = told["work"]
    attempt, token, rest = packet.split("\n", 2)
    if not hostfolder.ATTEMPT.fullmatch(attempt) or not token or not rest:
        raise ValueError(f"{attempt[:100]!r} is no attempt")
    files = [Come(*each) for each in told["files"]]
    for each in files:
        if hostfolder.place_of(each.place).kind == "checkpoints":
            raise ValueError(f"{each.place} is no place of a file")
    return Errand(
        attempt,
        token,
        told["work"],
        files,
        dict(told["setup"]),
        [str(each) for each in told.get("inherit", ())],
        int(told.get("checkpoint_exit", 0)),
        float(told.get("checkpoint_every_s", 0.0)),
        float(told["grace_s"]),
    )


def lay_out(errand: Errand, folder: str, scratch: str) -> str:
    """Make a small spool for this attempt below `scratch`; its path. Raises Trouble."""
    root = ""
    try:
        for each in errand.files:
            _verify(each, folder)
        root = tempfile.mkdtemp(prefix="work-", dir=scratch)
        for name in ("active", "inputs", "values", "stage", "tmp", "tmp/scratch", "tmp/output"):
            os.mkdir(f"{root}/{name}", 0o700)
        for each in errand.files:
            target = f"{root}/{each.place}"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.join(folder, each.source), target)
        os.symlink(f"{folder}/{CHECKPOINTS}", f"{root}/{CHECKPOINTS}")
        before = f"{root}/stage/{errand.attempt}.files{printed.BEFORE}"
        os.symlink(f"{folder}/{CHECKPOINTS}/{BEFORE}", before)
    except OSError as error:
        remove(root)
        raise unusable(error) from error
    return root


def _verify(each: Come, folder: str) -> None:
    """Raises Trouble."""
    path = os.path.join(folder, each.source)
    try:
        found = results.digest_of(path)
    except OSError as error:
        raise _damaged(each.source, error.strerror or str(error)) from error
    if found != (each.size, each.sha256):
        why = f"it has {found[0]} bytes instead of {each.size}"
        if found[0] == each.size:
            why = "its digest is another than the order says"
        raise _damaged(each.source, why)


def remove(root: str) -> None:
    """Remove what `lay_out` made; checkpoints stay, they are no part of it."""
    with contextlib.suppress(OSError):
        outputs.remove(root)


def setup_of(errand: Errand, environ: Mapping[str, str]) -> Dict[str, Any]:
    """What the runner is told of its agent: one attempt has all that the job was given."""
    kind = errand.kind
    inherited = {name: environ[name] for name in errand.inherit if name in environ}
    told = {
        **errand.setup,
        "env": {**inherited, **(errand.setup.get("env") or {})},
        "slots": max(1, kind.cpus),
        "gpus": devices(environ),
    }
    named = [str(each) for each in errand.setup.get("interpreters") or ()]
    found: Dict[str, str] = {}
    if kind.python not in ("", "%d.%d" % sys.version_info[:2]):
        found = pythons.by_version(
            pythons.find(named)
        )  # takes its time: only when it is needed
    return greeting.setup_of(told, named, found)


def devices(environ: Mapping[str, str]) -> List[str]:
    """The gpus that the batch system gave this job."""
    return [each for each in environ.get(_DEVICES, "").split(",") if each]


def lacking(errand: Errand, environ: Mapping[str, str]) -> str:
    """What the attempt needs and was not given; empty: it has all."""
    wanted, have = errand.kind.gpus, len(devices(environ))
    if wanted <= have:
        return ""
    return f"the batch system gave the job {have} gpus ({_DEVICES}), the task needs {wanted}"


def tell(folder: str, trouble: Trouble) -> None:
    """Say why nothing was run: one line to standard error, and `out/trouble.json` if that can be."""
    text = "; ".join(each for each in (trouble.what, trouble.why, trouble.fix) if each)
    sys.stderr.write(f"spoolmw: {' '.join(text.split())}\n")
    tree = {
        "code": trouble.code,
        "what": trouble.what,
        "why": trouble.why,
        "fix": trouble.fix,
        "host": os.uname().nodename,
    }
    with contextlib.suppress(OSError):
        os.makedirs(f"{folder}/{OUT}", exist_ok=True)
        half = f"{folder}/.{TROUBLE}"
        with open(half, "wb") as file:
            file.write(wire.encode(tree))
        os.replace(half, f"{folder}/{OUT}/{TROUBLE}")


def unusable(error: OSError) -> Trouble:
    """This machine cannot be used now."""
    return Trouble(
        UNUSABLE,
        "the job's folder cannot be used",
        why=f"{error.filename or 'there'}: {error.strerror or error}",
        fix="is its disk full? ask for more of it (request_disk)",
    )


def _damaged(name: str, why: str) -> Trouble:
    return Trouble(
        DAMAGED,
        f"{name} did not arrive as it was sent",
        why=why,
        fix="start the job again; if it happens on one host only, keep away from that",
    )
