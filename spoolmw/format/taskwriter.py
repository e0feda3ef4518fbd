"""Writes task files: the helper's, and the canonical copy that lies in `active/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from spoolmw.format.taskrecord import DAEMON_KEYS, MAGIC, OWN_KEYS, TaskFile
from spoolmw.model.ids import TaskId
from spoolmw.model.spec import Array, Input

#: Keys that `canonical` writes anew.
_RESOLVED = (*OWN_KEYS, *DAEMON_KEYS, "name", "files", "array_file")


def write(header: Mapping[str, object], body: bytes, *, codec: str = "pickle") -> bytes:
    """A whole task file; `header` is the tree without `body`, which is made here."""
    return Template(header).fill(str(header["id"]), body, codec=codec)


class Template:
    """Writes many task files that differ only in id and body; the rest is encoded once."""

    def __init__(self, header: Mapping[str, object]) -> None:
        rest = {
            key: value for key, value in header.items() if key not in ("id", "name", "body")
        }
        name = f'"name": {json.dumps(header["name"])}, ' if "name" in header else ""
        self._start = 'SPOOLMW-TASK 1\n{"id": "'
        self._middle = f'", {name}"body": {{"codec": "'
        self._end = '"}' + (", " + json.dumps(rest)[1:] if rest else "}") + "\n"
        self._end_bodiless = (", " + json.dumps(rest)[1:] if rest else "}") + "\n"
        self._bodiless = f'", {name}'.removesuffix(", ")

    def fill(self, task_id: str, body: bytes, *, codec: str = "pickle") -> bytes:
        """The file of one task. An empty body is left out (a command)."""
        if not body:
            return f"{self._start}{task_id}{self._bodiless}{self._end_bodiless}".encode()
        sha256 = hashlib.sha256(body).hexdigest()
        head = (
            f'{self._start}{task_id}{self._middle}{codec}", "bytes": {len(body)}, '
            f'"sha256": "{sha256}{self._end}'
        )
        return head.encode() + body


def canonical(  # noqa: PLR0913  # what acceptance resolves is so much
    taskfile: TaskFile,
    *,
    task_id: TaskId,
    name: str,
    submitted_at: float,
    result_name: str,
    inputs: Sequence[Input] = (),
    body_sha256: str = "",
    predecessors: Sequence[TaskId] = (),
    array: Array | None = None,
) -> bytes:
    """Magic line and header of the copy in `active/`, resolved; the body follows unchanged.

    `body_sha256` is needed where `read_header` did not see the whole of a script.
    """
    user = taskfile.header
    tree: dict[str, object] = {"id": task_id, "name": name}
    body = taskfile.body
    if body.codec:
        sha256 = body.sha256 or body_sha256
        assert sha256, "the digest of a long script is the caller's to give"
        tree["body"] = {"codec": body.codec, "bytes": body.size_bytes, "sha256": sha256}
    tree["submitted_at"] = submitted_at
    if result_name != taskfile.result_name:
        tree["result_name"] = result_name
    if any(predecessors):
        tree["predecessors"] = list(predecessors)
    tree.update({key: user[key] for key in user if key not in _RESOLVED})
    files = dict(user.get("files", {}))
    files.pop("inputs", None)
    if inputs:
        files["inputs"] = [_input_tree(each) for each in inputs]
    if files:
        tree["files"] = files
    if array is not None and array.file is not None:
        [(_, lines, _)] = array.ranges
        tree["array_file"] = {**_input_tree(array.file), "lines": lines}
    return MAGIC + json.dumps(tree).encode() + b"\n"


def _input_tree(each: Input) -> dict[str, object]:
    tree: dict[str, object] = {
        "name": each.name,
        "sha256": each.digest,
        "bytes": each.size_bytes,
    }
    if each.executable:
        tree["executable"] = True
    return tree


def portable(parsed: TaskFile, body: bytes, task_id: TaskId) -> bytes:
    """A task file that can be dropped, made of one that was accepted: nothing of the daemon's in it.

    Its inputs are named only; they go beside it, into `NAME.in/`.
    """
    kept = (key for key in parsed.header if key not in (*OWN_KEYS, *DAEMON_KEYS, "files"))
    header: dict[str, object] = {"id": task_id, "name": parsed.spec.name}
    header |= {key: parsed.header[key] for key in kept if key != "name"}
    files = {**parsed.header.get("files", {})}
    if parsed.spec.files.inputs:
        files["inputs"] = [each.name for each in parsed.spec.files.inputs]
    if files:
        header["files"] = files
    return write(header, body, codec=parsed.body.codec or "pickle")
