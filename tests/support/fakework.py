"""What a host sends back of a job that it never ran: one file with a report that passes all checks.

The file is what the runner's `onefile` packs: a line of JSON that names files and lengths, then the
files. Here it is made by other code, from what the documents say.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from spoolmw.runner import order, results, safe

FORMAT = 1


@dataclass(frozen=True)
class Errand:
    """What a job's order says."""

    attempt: str
    token: str
    name: str  #: of the task; of an element with its index
    told: Mapping[str, Any]  #: all of the order


def errand_of(files: Mapping[str, bytes]) -> Errand:
    """The order among a job's files, which are given by the names that the program opens."""
    told = json.loads(files["order.json"])
    ((_, (packet,)),) = told["work"]
    attempt, token, path = packet.split("\n")[:3]
    path, element = order.split(path)
    sources = {place: source for place, source, _, _ in told["files"]}
    header = json.loads(files[sources[path]].split(b"\n", 2)[1])
    return Errand(attempt, token, order.name_of(header, element), told)


def success(errand: Errand, value: object, *, codec: str = "safe") -> results.Ended:
    ended = results.Ended()
    ended.codec = codec
    ended.value = [safe.dumps(value) if codec == "safe" else bytes(value)]  # type: ignore[call-overload]
    return ended


#: How a made-up job ends: by default its value is its task's name.
Making = Callable[[Errand], results.Ended]


def named(errand: Errand) -> results.Ended:
    return success(errand, errand.name)


def parcel(
    errand: Errand,
    ended: results.Ended,
    *,
    host: str,
    spoil: Callable[[dict[str, Any]], object] = bool,
) -> bytes:
    """The file that the host uploads. `spoil` may change what report.json says."""
    now = time.time()
    report = results.report(errand.attempt, errand.token, ended, (now - 0.01, now))
    body = _body(errand, ended)
    report.update(body_bytes=len(body), digest=hashlib.sha256(body).hexdigest(), slot="w1")
    report.update(cpu_s=0.01, memory_bytes=1 << 20)
    told = {
        **{"format": 1, "host": host, "machine": "", "python": "3.11.2"},
        **{"platform": "linux-x86_64", "report": report, "news": []},
        "log": [0, hashlib.sha256(b"").hexdigest()],
    }
    spoil(told)
    return packed({"report.json": json.dumps(told).encode(), "result": body, "log": b""})


def _body(errand: Errand, ended: results.Ended) -> bytes:
    """A result file without its trailer."""
    body = results.inlined(errand.name, errand.attempt, ended)
    if body is None:
        with tempfile.NamedTemporaryFile() as file:
            results.write(file.name, errand.name, errand.attempt, ended)
            body = file.read()
    return body


def trouble(code: int, what: str, *, host: str = "pc") -> bytes:
    """The file of a host that could run nothing."""
    told = {"code": code, "what": what, "why": "", "fix": "", "host": host}
    return packed({"trouble.json": json.dumps(told).encode()})


def packed(files: Mapping[str, bytes]) -> bytes:
    """Some files as one."""
    listed = [[str(PurePosixPath(name)), len(data)] for name, data in files.items()]
    head = json.dumps({"format": FORMAT, "files": listed}).encode()
    return b"".join((head, b"\n", *files.values()))
