"""Retry policy: whether a failed attempt is followed by another, and after how long."""

from __future__ import annotations

from typing import Final

from spoolmw.model.attempt import Cause
from spoolmw.model.spec import Retry
from spoolmw.model.task import Task

LONGEST_BACKOFF_S: Final = 3600.0  #: no backoff grows beyond this
AGENT_BACKOFF_S: Final = 1.0  #: the first pause after a loss that is an agent's fault
MEMORY_AT_MOST: Final = 1 << 60  #: asked for by however many repetitions; the journal holds it
LOSSES_AT_MOST: Final = 3  #: in a row; the last one is blamed on the task
#: As many where runner or host died with all that ran there: one of many may have been the cause.
SHARED_LOSSES_AT_MOST: Final = 10

#: Causes that a repetition can mend, by the word that names them in `[retry] on`.
_WORDS: Final = {
    Cause.EXCEPTION: "exception",
    Cause.EXIT: "exit",
    Cause.SIGNAL: "signal",
    Cause.TIMEOUT: "timeout",
    Cause.MEMORY: "memory",
}


def is_named(retry: Retry, cause: Cause, exit_code: int | None) -> bool:
    """Whether `[retry] on` asks for another attempt after `cause`; some never get one."""
    word = _WORDS.get(cause)
    if word is None:
        return False
    return word in retry.on or (cause is Cause.EXIT and f"exit:{exit_code}" in retry.on)


def are_too_many(losses: int, cause: Cause) -> bool:
    """Whether so many losses in a row, the last one by `cause`, are the task's own fault."""
    most = SHARED_LOSSES_AT_MOST if cause is Cause.CONNECTION else LOSSES_AT_MOST
    return losses >= most


def is_worth_another(task: Task, cause: Cause, exit_code: int | None) -> bool:
    """Whether one more failure, after the `task.failures` before it, gets another attempt."""
    retry = task.spec.retry
    return task.failures < retry.max and is_named(retry, cause, exit_code)


def backoff_s(first_s: float, failures: int, jitter: float) -> float:
    """The pause after the n-th failure: `first_s` doubled each time, up to half of it less."""
    longest = min(first_s * 2.0 ** min(failures - 1, 60), LONGEST_BACKOFF_S)
    return longest * (1.0 - jitter / 2)


def memory_after(memory_bytes: int, retry: Retry, cause: Cause) -> int:
    """What the next attempt asks for: more, if memory was what the last one lacked."""
    if cause is not Cause.MEMORY:
        return memory_bytes
    return int(min(memory_bytes * retry.memory_factor, MEMORY_AT_MOST))
