"""What a batch job brings back: the folder `out/`, which is there whole or not at all.

`report.json`  how the attempt ended, and length and digest of all else
`result`       the result's body
`files/0` ...  output files, numbered: what a batch system makes of odd names is its own matter
`log`          the end of what the task printed

Rule: it is made aside, made durable, and gets its name at once; the first that has it stays.
"""

from __future__ import annotations

import binascii
import contextlib
import errno
import glob
import hashlib
import json
import os
import stat
import tempfile
from typing import Any, Dict, List, Tuple

from . import outputs, results, shelf
from .results import MAGIC
from .sandbox import CHECKPOINTS, FORMAT, OUT, TROUBLE

REPORT = "report.json"
RESULT = "result"
FILES = "files"
LOG = "log"
MOST_REPORT_BYTES = 16 << 20
MOST_LOG_BYTES = 64 << 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Report = Dict[str, Any]


def is_there(folder: str, attempt: str, token: str) -> bool:
    """Whether the job was done before: batch systems start one again that had ended."""
    try:
        with open(f"{folder}/{OUT}/{REPORT}", "rb") as file:
            report = json.loads(file.read(MOST_REPORT_BYTES))["report"]
        return bool(report["attempt"] == attempt and report["token"] == token)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def make_way(folder: str) -> None:
    """Have the folders that go back, without what an earlier start had to say. Raises OSError."""
    for name in (OUT, CHECKPOINTS):  # some hold a job that leaves less than was announced
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{folder}/{OUT}/{TROUBLE}")


def write(folder: str, root: str, report: Report, about: Report) -> None:
    """Pack the report of an attempt that ended in the spool at `root`, with all that it left.

    What it left is moved. `about` says where it ran. Raises OSError.
    """
    aside = tempfile.mkdtemp(prefix=f".{OUT}-", dir=folder)
    try:
        try:
            _fill(aside, root, report, about)
        except _Unfit as error:
            outputs.empty(aside)
            text = f"its output files cannot be sent: {error}"
            _fill(aside, root, shelf.loss(report, "connection", text, counts=True), about)
        _sync(aside)
        _name(aside, folder, report)
    finally:
        with contextlib.suppress(OSError):
            outputs.remove(aside)


class _Unfit(Exception):
    """The output files are too many, or have names that cannot be told."""


def _fill(aside: str, root: str, report: Report, about: Report) -> None:
    staged = f"{root}/stage/{report['attempt']}"
    report = dict(report)
    log = _printed(root, report)
    body = report.pop("body", None)
    if body is not None:
        _put(f"{aside}/{RESULT}", binascii.a2b_base64(body))
    elif report.get("body_bytes"):
        _move(staged, f"{aside}/{RESULT}")
    told = {"format": FORMAT, **about, "report": report}
    if report.get("files"):
        files, digests = _pack(f"{staged}.files", f"{aside}/{FILES}")
        told.update(files=files, digests=digests, bytes=sum(each[-1] for each in files))
    _put(f"{aside}/{LOG}", log)
    told["log"] = [len(log), hashlib.sha256(log).hexdigest()]
    # Odd names stay what they are: the daemon knows them by their escapes.
    data = json.dumps(told, separators=(",", ":")).encode()
    if len(data) > MOST_REPORT_BYTES:
        raise _Unfit("their names are too long together")
    _put(f"{aside}/{REPORT}", data)


def _pack(source: str, target: str) -> Tuple[List[List[Any]], List[str]]:
    """Move files to numbers; their names, modes and lengths, and their digests."""
    names = sorted(outputs.regular_files(source))
    why = outputs.cannot_travel(names)
    if why:
        raise _Unfit(why)
    os.mkdir(target, 0o700)
    files: List[List[Any]] = []
    digests: List[str] = []
    for number, name in enumerate(names):
        path = f"{source}/{name}"
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        _move(path, f"{target}/{number}")
        size, digest = results.digest_of(f"{target}/{number}")
        files.append([name, mode & 0o777, size])
        digests.append(digest)
    return files, digests


def _move(source: str, target: str) -> None:
    try:
        os.rename(source, target)
        os.chmod(target, 0o600)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        outputs.copy(source, target, 0o600)
        os.unlink(source)


def _printed(root: str, report: Report) -> bytes:
    """The ends of what the attempt printed, standard output first."""
    staged = f"{root}/stage/{report['attempt']}"
    texts = [results.tail(f"{staged}.files/{name}") for name in ("stdout", "stderr")]
    if not any(texts):
        texts = _tails_in(_header(staged, report))
    if not any(texts):
        paths = (f"{glob.escape(root)}/tmp/output/*.{end}" for end in ("out", "err"))
        texts = [results.tail(path) for pattern in paths for path in glob.glob(pattern)]
    return "".join(texts).encode("utf-8", "replace")[:MOST_LOG_BYTES]


def _tails_in(line: bytes) -> List[str]:
    try:
        header = json.loads(line)
        return [str(header["stdout_tail"]), str(header["stderr_tail"])]
    except (ValueError, LookupError, TypeError):
        return []


def _header(staged: str, report: Report) -> bytes:
    """The header line of a result."""
    if "body" in report:
        return binascii.a2b_base64(report["body"])[len(MAGIC) :].partition(b"\n")[0]
    try:
        with open(staged, "rb") as file:
            file.seek(len(MAGIC))
            return file.readline(MOST_REPORT_BYTES)
    except OSError:
        return b""


def _put(path: str, data: bytes) -> None:
    with open(os.open(path, _NEW, 0o600), "wb") as file:
        file.write(data)


def _sync(folder: str) -> None:
    for above, _, names in os.walk(folder, topdown=False):
        for path in (*(f"{above}/{name}" for name in names), above):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _name(aside: str, folder: str, report: Report) -> None:
    """Give it its name, unless the same job was done elsewhere meanwhile."""
    out = f"{folder}/{OUT}"
    try:
        os.rename(aside, out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if is_there(folder, report["attempt"], report["token"]):
            return
        outputs.empty(out)
        os.rename(aside, out)
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
