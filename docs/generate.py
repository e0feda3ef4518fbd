"""Writes docs/states.md from the tables of transitions; with `--check` only says whether it is stale.

Run from the project's root: `python -m docs.generate [--check]`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from spoolmw.model.attempt import Blame, Cause, Lease
from spoolmw.model.effects import Effect
from spoolmw.model.events import ComparedLate, Event
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.replica import Phase, ReplicaState
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.model.voting import Dropped, FoundUnfit, Sentenced
from spoolmw.rules import ballot, redundant, replica
from spoolmw.rules.task import TRANSITIONS, is_ignored, owed

PAGE = Path(__file__).with_name("states.md")
EVENTS: tuple[type[Event], ...] = get_args(Event)
EFFECTS: tuple[type[Effect], ...] = get_args(Effect)
#: What only a vote hears, and the state that only its tasks have.
OF_VOTES = (
    *(kind for kind in EVENTS if kind.__module__ == "spoolmw.model.voting"),
    ComparedLate,
)
PLAIN = tuple(state for state in TaskState if state is not TaskState.VALIDATING)
VOTED = tuple(state for state in TaskState if state is not TaskState.EXPANDING)

HEAD = """\
# The states of a task

<!-- Written by docs/generate.py from the tables in spoolmw/rules. Do not edit: run `make docs`. -->

A task is in exactly one of these states. An *event* (a fact, past tense) may lead to another
state; the transition then orders *effects* (imperative). Everything here stands in one table,
`TRANSITIONS` in `spoolmw/rules/task.py`; tests go through every state with every event, and
through everything that can be reached in twelve steps.

A task that wants several replicas to agree has a machine of its own, [below](#a-task-with-redundancy),
and so has each of its replicas.
"""

MATRIX = """
## Every event in every state

Where a state stands, the event may lead there. `·`: it comes too late, twice, or wishes what is
so already: it changes nothing. `bug`: the daemon itself would have to be wrong
(`IllegalTransition`); what agents and users say is never that.
"""

LATE = """
Where a state stands, an event may still be late. Started and Lost count only from the attempt
that holds the lease; a report only with the token of its attempt. An attempt that was lost or
stopped, and is not proven dead, may report a *success* after all while the task is open; an
attempt that took its place is then stopped. TwinEnded counts only from the task that is waited
for.
"""

OWED = """
## What each state owes

After a crash the daemon performs again what the state of each task owes. Each effect may be
performed twice. `Stop` is owed by no state: an attempt without a lease shows up as an orphan at
its agent. Any state also owes a `Discard` for each older attempt whose file in `stage/` nobody
can want any more.
"""

VOTE = """
# A task with redundancy

Its attempts stand in its vote (the *ballot*), one after another for each replica. While the vote
is open the state follows from it: queued while no replica runs, running while one does,
validating while results are being compared; held and waiting are as of any task. It ends as the
vote ends. `VOTING` and `TRANSITIONS` in `spoolmw/rules/redundant.py` have it all.

| phase of the vote | |
|---|---|"""

HEARD = """
## What the vote hears

In other states these change nothing. A report counts only with the token of its attempt, an
answer of a validation only with its round. What was given up may be taken up again by hand:
results that were reported stay until the task is pruned.

| event | in | what the vote makes of it |
|---|---|---|"""

ELSE = """
## All else that happens to it

| in | event | leads to | what happens |
|---|---|---|---|"""

VOTE_OWES = """
What an open vote owes after a crash: a `StartReplica` for each replica that runs (but an attempt
of an agent that ended with the daemon is lost instead, and the replica waits again), a `Judge`
with the same round where results are being compared, and a `Discard` for each file in `stage/`
that nobody can want any more. A `Score` is owed by no state: the host's record is written in the
commit that ordered it.
"""

REPLICA = """\
# A replica

One independent execution, and one vote. `TRANSITIONS` in `spoolmw/rules/replica.py`.
"""

Table = Mapping[tuple[Any, type[Any]], Any]


def page() -> str:
    """The whole page."""
    lines = [HEAD, *_diagram(TRANSITIONS, TaskState.QUEUED, TaskState.WAITING)]
    lines += ["\n## The states\n", *_states(TaskState)]
    lines += ["\n## The transitions\n", *_edges(TRANSITIONS)]
    lines += [*_matrix(), *_owed(), *_effects(), *_vote(), *_replica()]
    return "\n".join(lines).rstrip() + "\n"


def _diagram(table: Table, *starts: Enum) -> Iterator[str]:
    """Edges that lead from state to state, the events on one arrow together."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, kind), rule in table.items():
        for target in rule.to:
            if target is not state:
                arrows.setdefault((state.value, target.value), []).append(kind.__name__)
    yield "```mermaid\nstateDiagram-v2"
    for start in starts:
        name = "Submitted" if isinstance(start, TaskState) else ""
        yield f"    [*] --> {start.value}{f': {name}' if name else ''}"
    for (source, goal), kinds in arrows.items():
        yield f"    {source} --> {goal}: {', '.join(kinds)}"
    if starts[0] is TaskState.QUEUED:
        yield f"    {TaskState.DONE.value} --> [*]"
    yield "```"


def _states(kind: type[Enum]) -> Iterator[str]:
    yield "| state | |\n|---|---|"
    yield from _meanings(kind)


def _meanings(kind: type[Enum]) -> Iterator[str]:
    for _, value, meaning in re.findall(
        r'(\w+) = "([\w ]+)"  #: (.+)', inspect.getsource(kind)
    ):
        yield f"| {value} | {meaning} |"


def _edges(table: Table) -> Iterator[str]:
    yield "| in | event | leads to | what happens |\n|---|---|---|---|"
    yield from _rows(table)


def _rows(table: Table) -> Iterator[str]:
    for (state, kind), rule in table.items():
        targets = " or ".join(target.value for target in rule.to)
        yield f"| {state.value} | {kind.__name__} | {targets} | {_sentence(rule.apply)} |"


def _matrix() -> Iterator[str]:
    yield MATRIX
    yield "| | " + " | ".join(state.value for state in PLAIN) + " |"
    yield "|---" * (len(PLAIN) + 1) + "|"
    for kind in EVENTS:
        if kind not in OF_VOTES:
            cells = " | ".join(_cell(state, kind) for state in PLAIN)
            yield f"| {kind.__name__} | {cells} |"
    yield LATE
    yield "| event | |\n|---|---|"
    for kind in EVENTS:
        yield f"| {kind.__name__} | {_sentence(kind)} |"


def _cell(state: TaskState, kind: type[Event]) -> str:
    rule = TRANSITIONS.get((state, kind))
    if rule is not None:
        return ", ".join(target.value for target in rule.to)
    return "·" if is_ignored(state, kind) else "bug"


def _owed() -> Iterator[str]:
    yield OWED
    yield "| state | owes |\n|---|---|"
    for state in PLAIN:
        names = ", ".join(type(effect).__name__ for effect in owed(_sample(state)))
        yield f"| {state.value} | {names or 'nothing'} |"


def _effects() -> Iterator[str]:
    yield "\n| effect | |\n|---|---|"
    for kind in EFFECTS:
        yield f"| {kind.__name__} | {_sentence(kind)} |"


def _vote() -> Iterator[str]:
    yield VOTE
    yield from _meanings(Phase)
    yield HEARD
    for kind, states in redundant.VOTING.items():
        names = ", ".join(state.value for state in VOTED if state in states)
        yield f"| {kind.__name__} | {names} | {_sentence(ballot.HANDLERS[kind])} |"  # type: ignore[index]
    yield ELSE
    yield from _rows(redundant.TRANSITIONS)
    yield VOTE_OWES


def _replica() -> Iterator[str]:
    yield REPLICA
    yield from _diagram(replica.TRANSITIONS, ReplicaState.PENDING)
    yield ""
    yield from _states(ReplicaState)
    yield ""
    yield from _edges(replica.TRANSITIONS)
    yield "\n| what the vote tells a replica | |\n|---|---|"
    for kind in (Dropped, Sentenced, FoundUnfit):
        yield f"| {kind.__name__} | {_sentence(kind)} |"


def _sample(state: TaskState) -> Task:
    """A task in `state` whose only attempt, if it had one, left nothing behind."""
    ended = state is TaskState.DELIVERING or state in FINAL
    ending = Ending(state=TaskState.DONE, cause=Cause.FINISHED, blame=Blame.NONE)
    lease = Lease(agent=AgentName("local"), token="", assigned_at=0.0)
    return Task(
        seq=1,
        id=TaskId("0" * 32),
        box="",
        dropped="sum.task",
        result_name="sum",
        spec=Spec(name="sum"),
        submitted_at=0.0,
        state=state,
        lease=lease if state is TaskState.RUNNING else None,
        ending=ending if ended else None,
    )


def _sentence(thing: object) -> str:
    """The first paragraph of a docstring; nothing where it is only a dataclass's signature."""
    text = inspect.getdoc(thing) or ""
    name = getattr(thing, "__name__", "")
    return "" if text.startswith(f"{name}(") else " ".join(text.split("\n\n")[0].split())


def main(arguments: list[str]) -> int:
    """Write the page, or check it; the exit status says whether it was fresh."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/states.md is stale: run `make docs`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
