"""Reads task files: the magic line, one line of JSON, the body; scripts; `*.toml`.

Untrusted input is parsed once, here, from its first 64 KiB; behind `read_header` nobody
checks again. The body is bytes: nothing here unpickles. Its sha256 is checked by the worker.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NoReturn

from spoolmw.errors import BadTaskFile
from spoolmw.format.forms import BadForm, Written, read_script, read_toml
from spoolmw.format.ids import is_task_id
from spoolmw.format.keyed import Path, Unfit, place_of, read_table
from spoolmw.format.knownheaders import like, recall, remember
from spoolmw.format.names import escape, result_problem
from spoolmw.format.redundancy import FUNCTIONS, check_body
from spoolmw.format.schema import read_spec
from spoolmw.format.strictjson import parse_json
from spoolmw.format.taskrecord import (
    HEADER_BYTES,
    MAGIC,
    SUFFIX,
    TOML_SUFFIX,
    VERSION,
    Incomplete,
    TaskFile,
    default_result_name,
)
from spoolmw.format.taskwriter import Template, canonical, portable, write
from spoolmw.format.values import checked, list_of, matching, one_of, whole
from spoolmw.model.spec import Body, Checkpoint, Run, Spec

_DOCS = "see docs/taskfile.md"


def read_header(data: bytes, *, size: int, dropped: str, accepted: bool = False) -> TaskFile:
    """What the file `dropped` asks for.

    `data` is its beginning (64 KiB, or all of it), `size` its whole length. `accepted` is for
    files of `active/`: always in the `.task` form, whatever their name, with the keys that only
    the daemon writes. Raises `BadTaskFile`, or `Incomplete`.
    """
    if accepted or dropped.endswith(SUFFIX):
        known = recall(data, dropped=dropped)
        if known is not None:
            _check_length(known.body.size_bytes, size - known.body_offset, dropped)
            return known
        return _read_task(data, size, dropped, accepted=accepted)
    if not data:
        raise BadTaskFile(f"{escape(dropped)} was refused: it is empty.", fix=_DOCS)
    if dropped.endswith(TOML_SUFFIX):
        return _read_toml(data, size, dropped)
    return _read_script(data, size, dropped)


def _read_task(data: bytes, size: int, dropped: str, *, accepted: bool) -> TaskFile:
    line = _header_line(data, size, dropped)
    try:
        tree = parse_json(line)
        own, rest = _own_keys(tree, accepted=accepted)
        body: Body = own.get("body", Body())
        default_name = default_result_name(dropped)
        spec = read_spec(rest, name=default_name, accepted=accepted)
        offset = len(MAGIC) + len(line) + 1
        _check_length(body.size_bytes, size - offset, dropped)
        if body.codec == "script":
            spec = _as_script(spec)
            _check_shebang(data[offset:], body.size_bytes)
        _check_run(spec, body)
    except (Unfit, BadForm) as problem:
        _refuse(dropped, problem, line=2)
    if not (
        accepted or spec.files.inputs or spec.after or _has_file(spec)
    ):  # what only the daemon may write stays outside
        remember(data[: offset - 1], spec)
    return TaskFile(
        spec,
        own.get("id"),
        own.get("submitted_at"),
        own.get("result_name", default_name),
        body,
        offset,
        "task",
        line,
        own.get("predecessors", ()),
    )


def _has_file(spec: Spec) -> bool:
    return spec.array is not None and spec.array.file is not None


def _header_line(data: bytes, size: int, dropped: str) -> bytes:
    if not data.startswith(MAGIC):
        if size < len(MAGIC) and MAGIC.startswith(data):
            raise Incomplete(
                f"{escape(dropped)} was refused: it is {'empty' if not data else 'not whole'}.",
                why=f"it has {size} bytes, less than its first line",
                fix="write it under another name first, then rename it",
            )
        _refuse(dropped, _no_magic(data), line=1)
    end = data.find(b"\n", len(MAGIC), HEADER_BYTES)
    if end >= 0:
        return data[len(MAGIC) : end]
    if size >= HEADER_BYTES:
        _refuse(dropped, BadForm("its header is longer than 64 KiB"), line=2)
    raise Incomplete(
        f"{escape(dropped)} was refused: it is not whole.",
        why="its header has no end",
        fix="write it under another name first, then rename it",
    )


def _no_magic(data: bytes) -> BadForm:
    other = re.match(rb"SPOOLMW-TASK (\d{1,9})\n", data)
    if other:
        return BadForm(
            f"it has version {int(other[1])} of the format; this daemon knows {VERSION}",
            "write it with an older helper, or install a newer spoolmw",
        )
    return BadForm(
        "it is not a task file: its first line is not SPOOLMW-TASK 1",
        f"write it with spool.submit(), or {_DOCS}",
    )


def _check_length(said: int, there: int, dropped: str) -> None:
    if there < said:
        raise Incomplete(
            f"{escape(dropped)} was refused: it is not whole.",
            why=f"its header says {said} bytes of body, {there} are there",
            fix="write it under another name first, then rename it",
        )
    if there > said:
        _refuse(dropped, BadForm(f"{there - said} bytes follow the end that its header says"))


_BODY = {
    "codec": one_of("pickle", "calls", "script", FUNCTIONS),
    "bytes": whole(1, 2**50),
    "sha256": matching(r"[0-9a-f]{64}", "a sha256 in hexadecimal digits"),
}


def _read_body(raw: object) -> Body:
    values: dict[str, Any] = read_table(raw, _BODY)
    for key in _BODY:
        if key not in values:
            raise Unfit(f'"{key}" is missing', "a body has codec, bytes and sha256")
    return Body(codec=values["codec"], size_bytes=values["bytes"], sha256=values["sha256"])


def _read_id(raw: object) -> object:
    if not isinstance(raw, str) or not is_task_id(raw):
        raise Unfit("an id is 32 lowercase hexadecimal digits", "leave it out; it is then made")
    return raw


def _read_time(raw: object) -> object:
    if type(raw) not in (int, float) or not 0 <= raw <= 1e11:  # type: ignore[operator]
        raise Unfit("it is no time in seconds since 1970")
    return float(raw)  # type: ignore[arg-type]


#: Keys of a `.task` beside those of people; the latter two are the daemon's alone.
_OWN = {"id": _read_id, "body": _read_body}
_ACCEPTED = {
    **_OWN,
    "submitted_at": _read_time,
    "result_name": checked(result_problem, "a result's name"),
    "predecessors": list_of(lambda raw: raw if raw == "" else _read_id(raw)),
}


def _own_keys(
    tree: dict[str, object], *, accepted: bool
) -> tuple[dict[str, Any], dict[str, object]]:
    readers = _ACCEPTED if accepted else _OWN
    own = read_table({key: tree[key] for key in readers if key in tree}, readers)
    rest = {key: value for key, value in tree.items() if key not in readers}
    return own, rest


def _read_toml(data: bytes, size: int, dropped: str) -> TaskFile:
    written: Written | None = None
    try:
        if size > HEADER_BYTES:
            raise BadForm("it is longer than 64 KiB", "put data into NAME.in/ beside it")
        written = read_toml(data)
        spec = read_spec(written.tree, name=dropped)
        _check_run(spec, Body())
    except (Unfit, BadForm) as problem:
        _refuse(dropped, problem, written)
    return TaskFile(spec, None, None, dropped, Body(), size, "toml", written.tree)


def _read_script(data: bytes, size: int, dropped: str) -> TaskFile:
    written: Written | None = None
    try:
        _check_shebang(data, size)
        written = read_script(data[:HEADER_BYTES])
        tree = dict(written.tree)
        spec = _as_script(read_spec(tree, name=dropped))
        _check_run(spec, Body(codec="script"))
    except (Unfit, BadForm) as problem:
        _refuse(dropped, problem, written)
    sha256 = hashlib.sha256(data).hexdigest() if len(data) == size else ""
    body = Body(codec="script", size_bytes=size, sha256=sha256)
    return TaskFile(spec, None, None, dropped, body, 0, "script", tree)


def _check_shebang(data: bytes, size: int) -> None:
    if data.startswith(b"#!"):
        first = data[:256].partition(b"\n")[0]
        if first.endswith(b"\r"):
            raise BadForm(
                "its first line ends as on Windows, so its interpreter would not be found",
                "convert it with dos2unix",
                1,
            )
        if not first[2:].strip():
            raise BadForm("its first line names no interpreter", "#!/bin/sh for instance", 1)
        return
    if size > 1 or not b"#!".startswith(data):
        if data.startswith(b"\xef\xbb\xbf"):
            raise BadForm("it begins with a byte-order mark", "save it as UTF-8 without BOM", 1)
        if data.startswith(b"SPOOLMW-TASK "):
            raise BadForm("it is a task file, but its name does not end in .task", "rename it")
    raise BadForm(
        "it is neither a .task nor a .toml, and its first line is no #!",
        "begin a script with #!/bin/sh; send data in NAME.in/ beside the file that needs it",
        1,
    )


def _as_script(spec: Spec) -> Spec:
    run = spec.run
    script = Run(command=run.command, script=True, env=run.env, result=run.result)
    return like(spec, name=spec.name, run=script)


def _check_run(spec: Spec, body: Body) -> None:
    if not set(spec.takes) <= set(spec.after):
        raise Unfit("it takes the value of a task that is not in `after`", path=("takes",))
    if spec.takes and body.codec != "pickle":
        raise Unfit("only a Python call takes values", "name the task in `after`", ("takes",))
    check_body(spec, body)
    if body.codec in ("script", FUNCTIONS):
        return
    if spec.run.command and body.codec:
        raise Unfit(
            "there are both a command and a Python call", "leave one out", ("run", "command")
        )
    if not spec.run.command and not body.codec:
        raise Unfit("nothing to run is named", 'add [run] command = ["./fold", "17"]', ("run",))
    if body.codec:
        _check_call(spec, body)


def _check_call(spec: Spec, body: Body) -> None:
    if spec.files.outputs:
        raise Unfit("a Python call has no output files", "return a value", ("files", "outputs"))
    _check_checkpoint(spec.checkpoint)
    if body.codec == "calls" and (spec.array is None or _has_file(spec)):
        raise Unfit("calls are the elements of an array", 'add array = "0-99"', ("array",))


def _check_checkpoint(wish: Checkpoint) -> None:
    """What only a command can do; a Python call saves with `spoolmw.checkpoint`."""
    fix = "a Python call saves with spoolmw.checkpoint.save(state): see docs/checkpoints.md"
    if wish.files:
        raise Unfit("a Python call has no state files", fix, ("checkpoint", "files"))
    if wish.exit_code != Checkpoint().exit_code:
        raise Unfit("a Python call has no exit code", fix, ("checkpoint", "exit_code"))


def _refuse(
    dropped: str, problem: Unfit | BadForm, written: Written | None = None, line: int = 0
) -> NoReturn:
    path: Path = ()
    if isinstance(problem, Unfit):
        path = problem.path
        line = written.line(path) if written else line
    else:
        line = problem.line or line
    raise BadTaskFile(
        f"{escape(dropped)} was refused{place_of(path, line)}.",
        why=escape(problem.why),
        fix=escape(problem.fix) or _DOCS,
    )


__all__ = [
    "HEADER_BYTES",
    "MAGIC",
    "SUFFIX",
    "TOML_SUFFIX",
    "Incomplete",
    "TaskFile",
    "Template",
    "canonical",
    "default_result_name",
    "portable",
    "read_header",
    "write",
]
