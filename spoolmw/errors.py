"""Errors, split by whose fault they are; each says what happened, why, and what to do.

`BadTaskFile` is the submitter's, `AgentError` an agent's, `JournalCorrupt` stops the daemon,
`IllegalTransition` is a bug of ours. What a waiting caller may meet (`TaskFailed` and its
kin) stands here too, so that `except spoolmw.SpoolmwError` catches all that is ours.
"""

from __future__ import annotations


class SpoolmwError(Exception):
    """Something went wrong; `what` happened, `why`, and how to `fix` it (each one sentence)."""

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"Why: {self.why}")
        if self.fix:
            lines.append(f"To do: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.why, self.fix, dict(self.__dict__)))


def _rebuild(
    kind: type[SpoolmwError], what: str, why: str, fix: str, state: dict[str, object]
) -> SpoolmwError:
    error = kind.__new__(kind)
    SpoolmwError.__init__(error, what, why=why, fix=fix)
    error.__dict__.update(state)
    return error


class BadTaskFile(SpoolmwError):
    """The submitter's mistake: the file goes to `rejected/` with this text beside it."""


class BadCheckpoint(SpoolmwError):
    """A checkpoint is damaged, another's, or of another format; it was not used, nothing changed."""


class BadConfig(SpoolmwError):
    """The configuration cannot be used: a start is refused, a reload keeps the old one."""


class BadSpool(SpoolmwError):
    """The spool directory cannot be used as it is (modes, file system, a second daemon)."""


class SpoolBusy(BadSpool):
    """Another daemon holds this spool."""


class AgentError(SpoolmwError):
    """One agent failed; the task is innocent. The daemon backs off and tries elsewhere."""


class JournalCorrupt(SpoolmwError):
    """The journal disagrees with itself. The only error that stops the daemon."""


class JournalLost(JournalCorrupt):
    """The journal cannot be written any more (a failed sync, a file gone): what is on disk counts."""


class DiskFull(SpoolmwError):
    """There is no room: nothing was written, the same can be tried again later."""


class IllegalTransition(SpoolmwError):
    """A bug in spoolmw: an event reached a state in which it cannot happen."""


class NotServed(SpoolmwError):
    """The daemon cannot be asked: it is down, or its control socket does not answer."""


class UnknownTask(SpoolmwError):
    """No task has this id, name or key, or several have."""


class BadResultFile(SpoolmwError):
    """A result file is not whole or not one of ours."""


class TaskFailed(SpoolmwError):
    """A task ended without a value.

    `type_name`, `message` and `traceback_text` tell of the exception where there was one;
    `blame` says whose fault it was: task, host, agent, user or deadline. `exit_code` is a
    command's, and `files` the folder of what it left.
    """

    type_name: str = ""
    message: str = ""
    traceback_text: str = ""
    blame: str = "task"
    task_id: str = ""
    exit_code: int | None = None
    files: str = ""


class TaskRejected(SpoolmwError):
    """The daemon refused the task file; the message is the reason written beside it."""


class ResultGone(SpoolmwError):
    """The task was delivered, but its result file was moved or deleted by somebody else."""
