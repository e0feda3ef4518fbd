"""Turns a result file's bytes into what the caller gets: a value, or the error to raise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from spoolmw.client.future import Ended, SpoolTask
from spoolmw.errors import BadResultFile, TaskFailed, TaskRejected
from spoolmw.format.call import load_value
from spoolmw.format.plainresult import PlainResult, read_plain
from spoolmw.format.resultfile import ResultFile, parse
from spoolmw.spooldir.layout import Layout


class RemoteTraceback(Exception):
    """The traceback of the host, as text: the `__cause__` of what a task raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left behind: its exit code, and its files under their names."""

    exit_code: int
    folder: Path  #: `results/[BOX/]NAME.files`, the caller's to move or delete
    files: Mapping[str, Path]

    @property
    def stdout(self) -> str:
        """What the command wrote to its standard output."""
        return _text(self.folder / "stdout")

    @property
    def stderr(self) -> str:
        """What the command wrote to its standard error."""
        return _text(self.folder / "stderr")


@dataclass(frozen=True, slots=True)
class ArrayResult:
    """How the elements of an array ended; `skipped` ones never became tasks."""

    total: int
    done: int
    failed: int
    cancelled: int
    skipped: int


class NotOurs(Exception):
    """The file at a result's place is not this task's result; `reason` says why."""

    def __init__(self, reason: BadResultFile) -> None:
        super().__init__(str(reason))
        self.reason = reason


def read_ended(task: SpoolTask, data: bytes) -> tuple[Ended, bool]:
    """How `task` ended, and whether all was understood (so that the file may go).

    Raises NotOurs when the bytes are damaged or another task's.
    """
    plain = read_plain(data)
    if plain is not None and plain.owner == task.id:
        return _plain(plain)
    try:
        result = parse(data, task.result_file)
    except BadResultFile as error:
        raise NotOurs(error if data else _unreadable(task.result_file)) from None
    trailer = result.trailer or {}
    owner = trailer.get("id") or result.header.get("task")
    if owner != task.id:
        raise NotOurs(
            BadResultFile(
                f"{task.result_file} is not the result of {task.name}.",
                why=f"it is of task {owner}, and {task.id} is waited for",
                fix="move it away; the daemon gave this task's result another name",
            )
        )
    return _ended(task, result, trailer)


def _plain(result: PlainResult) -> tuple[Ended, bool]:
    try:
        # a trailer of this form does not say of its agent that it is not trusted
        return Ended(
            value=load_value({"codec": result.codec}, result.value, trusted=True)
        ), True
    except BadResultFile as error:
        return Ended(error=error), False


def _unreadable(path: str) -> BadResultFile:
    why, fix = "it is empty", "move it away"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        why, fix = "this user may not read it", "see [intake] group in the configuration"
    except OSError as error:
        why = str(error.strerror)
    return BadResultFile(f"{path} is no result file.", why=why, fix=fix)


def _ended(
    task: SpoolTask, result: ResultFile, trailer: Mapping[str, Any]
) -> tuple[Ended, bool]:
    state = trailer.get(
        "state", "done" if result.header.get("outcome") == "success" else "failed"
    )
    if state == "cancelled":
        return Ended(cancelled=True), True
    trusted = trailer.get("trusted", True) is True
    try:
        if state == "done":
            return Ended(value=_value(task, result, trusted=trusted)), True
        return Ended(error=_error(task, result, trailer, trusted=trusted)), True
    except BadResultFile as error:
        return Ended(error=error), False


def _value(task: SpoolTask, result: ResultFile, *, trusted: bool) -> Any:
    header = result.header
    if header.get("codec"):
        return load_value(header, result.value, trusted=trusted)
    if isinstance(header.get("elements"), dict):
        counts = {
            each.name: int(header["elements"].get(each.name, 0)) for each in fields(ArrayResult)
        }
        return ArrayResult(**counts)
    if "files" in header and task.files.is_dir():
        return CommandResult(
            int(header.get("exit_code") or 0), task.files, _files(task, header)
        )
    return None


def _files(task: SpoolTask, header: Mapping[str, Any]) -> dict[str, Path]:
    """The output files under their names, as far as they lie where they should."""
    names = [str(entry["name"]) for entry in header.get("files") or () if "name" in entry]
    inside = [name for name in names if not {"..", "/"} & set(Path(name).parts)]
    return {name: task.files / name for name in inside}


def _error(
    task: SpoolTask, result: ResultFile, trailer: Mapping[str, Any], *, trusted: bool
) -> BaseException:
    header = result.header
    told = header.get("exception") or {}
    text = str(told.get("traceback") or "")
    if header.get("codec") == "pickle-exception":
        try:
            raised = load_value(header, result.value, trusted=trusted)
        except BadResultFile:
            raised = None  # its class cannot be imported here: TaskFailed tells of it
        if isinstance(raised, BaseException):
            raised.__cause__ = RemoteTraceback(text) if text else raised.__cause__
            return raised
    return _failed(task, header, trailer, told)


def _failed(
    task: SpoolTask,
    header: Mapping[str, Any],
    trailer: Mapping[str, Any],
    told: Mapping[str, Any],
) -> TaskFailed:
    blame = str(trailer.get("blame") or "task")
    message = str(trailer.get("message") or header.get("message") or "")
    kind = _type_name(told)
    why = f"{kind}: {told.get('message', '')}" if kind else message
    errors = str(header.get("stderr_tail") or "").strip()
    if errors and not kind:
        why = f"{why}\n{errors}"
    error = TaskFailed(
        f"The task {task.name} ({task.id}) failed: {trailer.get('cause', header.get('cause'))}.",
        why=why.strip(),
        fix=f"spoolmw-ctl show {task.id} has the whole story"
        + ("" if blame == "task" else f" (the blame is the {blame}'s)"),
    )
    error.type_name = kind
    error.message = str(told.get("message") or message)
    error.traceback_text = str(told.get("traceback") or "")
    error.blame = blame
    error.task_id = task.id
    error.exit_code = header.get("exit_code")
    error.files = str(task.files) if header.get("files") else ""
    if error.traceback_text:
        error.__cause__ = RemoteTraceback(error.traceback_text)
    return error


def _type_name(told: Mapping[str, Any]) -> str:
    module, name = str(told.get("module") or ""), str(told.get("type") or "")
    return f"{module}.{name}" if module not in ("", "builtins") and name else name


def refusal(layout: Layout, task: SpoolTask) -> TaskRejected | None:
    """The reason that stands beside the task's file in `rejected/`; None: it was not refused."""
    folder = layout.rejected / task.box
    if not os.path.lexists(folder / task.dropped):
        return None
    try:
        text = (folder / f"{task.dropped}.reason").read_text("utf-8", "replace")
    except OSError:
        text = f"The task {task.name} was refused."
    parts = {"what": [], "Why": [], "To do": []}  # type: dict[str, list[str]]
    at = "what"
    for line in text.strip().splitlines():
        word, colon, rest = line.partition(": ")
        if colon and word in parts:
            at, line = word, rest  # noqa: PLW2901  # the label is not part of the sentence
        parts[at].append(line)
    what, why, fix = ("\n".join(lines) for lines in parts.values())
    return TaskRejected(what, why=why, fix=fix or f"the file is {folder / task.dropped}")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
