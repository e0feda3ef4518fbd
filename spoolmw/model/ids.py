"""Names of things: task ids, agent names, and the name of one attempt."""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

TaskId = NewType("TaskId", str)
"""128 bits as 32 hexadecimal digits; the first 12 are milliseconds since 1970, so ids sort by time."""

AgentName = NewType("AgentName", str)


VALIDATION: Final = 1000
"""In the place of a replica's number: the attempt compares what the replicas returned."""


class AttemptId(NamedTuple):
    """One launch of one replica of a task; as text `TASK.REPLICA.ATTEMPT`, also a file's name in `stage/`.

    `replica` is 0 for a task without redundancy. `attempt` counts launches from 1; of a validation
    (`VALIDATION` in the place of a replica's number) it is the round.
    """

    task: TaskId
    replica: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.task}.{self.replica}.{self.attempt}"
