"""Takes up again a vote that was given up, because somebody decides it by hand.

As a retry does it: the next result has a name of its own, and the log of deliveries is told before
the journal. What the replicas returned lies in `stage/` until the task is pruned.
"""

from __future__ import annotations

from dataclasses import replace

from spoolmw.daemon.reactor import Reactor
from spoolmw.model.replica import Ballot, Phase
from spoolmw.model.task import Task, TaskState
from spoolmw.model.voting import Accepted, Granted
from spoolmw.spooldir import markers


def problem(reactor: Reactor, task: Task, ballot: Ballot, decision: Accepted | Granted) -> str:
    """Why the vote on a FAILED task cannot be taken up so; empty when it can."""
    if ballot.phase is not Phase.GIVEN_UP:
        return f"it is {task.state.value}, and not by its vote"
    if not reactor.intake.provisions.has_file(task):
        return "its task file is gone (pruned)"
    if isinstance(decision, Granted):
        return ""
    chosen = ballot.replicas[decision.replica]
    there = chosen.staged and reactor.delivery.staged_bytes(chosen.staged) >= chosen.body_bytes
    return "" if there else f"the result of replica {decision.replica} is gone"


def take_up(reactor: Reactor, task: Task, decision: Accepted | Granted) -> Task:
    """Open the FAILED task by this decision. Raises OSError."""
    assert task.state is TaskState.FAILED
    intake = reactor.intake
    name = intake.names.choose_again(task)
    intake.note_retried(replace(task, result_name=name))
    reactor.sync_first()
    after = reactor.apply(task, replace(decision, result_name=name))
    markers.clear(intake.layout, task.id)
    return after
