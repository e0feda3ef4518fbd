"""Names of things: task ids, agent names, and the name of one attempt."""

from __future__ import annotations

from typing import NamedTuple, NewType

TaskId = NewType("TaskId", str)
"""128 bits as 32 hexadecimal digits; the first 12 are milliseconds since 1970, so ids sort by time."""

AgentName = NewType("AgentName", str)


class AttemptId(NamedTuple):
    """One launch of one replica of a task; as text `TASK.REPLICA.ATTEMPT`, also a file's name in `stage/`.

    `replica` is 0 until tasks have redundancy. `attempt` counts launches from 1.
    """

    task: TaskId
    replica: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.task}.{self.replica}.{self.attempt}"
