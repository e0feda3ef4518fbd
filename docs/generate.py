"""Writes docs/states.md from the table of transitions; with `--check` only says whether it is stale.

Run from the project's root: `python -m docs.generate [--check]`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from spoolmw.model.attempt import Blame, Cause, Lease
from spoolmw.model.effects import Effect
from spoolmw.model.events import Event
from spoolmw.model.ids import AgentName, TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, Ending, Task, TaskState
from spoolmw.rules.task import TRANSITIONS, is_ignored, owed

PAGE = Path(__file__).with_name("states.md")
EVENTS: tuple[type[Event], ...] = get_args(Event)
EFFECTS: tuple[type[Effect], ...] = get_args(Effect)

HEAD = """\
# The states of a task

<!-- Written by docs/generate.py from spoolmw/rules/task.py. Do not edit: run `make docs`. -->

A task is in exactly one of these states. An *event* (a fact, past tense) may lead to another
state; the transition then orders *effects* (imperative). Everything here stands in one table,
`TRANSITIONS` in `spoolmw/rules/task.py`; tests go through every state with every event, and
through everything that can be reached in twelve steps.
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


def page() -> str:
    """The whole page."""
    lines = [HEAD, *_diagram(), *_states(), *_edges(), *_matrix(), *_owed(), *_effects()]
    return "\n".join(lines).rstrip() + "\n"


def _diagram() -> Iterator[str]:
    """Edges that lead from state to state, the events on one arrow together."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, kind), rule in TRANSITIONS.items():
        for target in rule.to:
            if target is not state:
                arrows.setdefault((state.value, target.value), []).append(kind.__name__)
    yield "```mermaid\nstateDiagram-v2"
    for start in (TaskState.QUEUED, TaskState.WAITING):
        yield f"    [*] --> {start.value}: Submitted"
    for (source, goal), kinds in arrows.items():
        yield f"    {source} --> {goal}: {', '.join(kinds)}"
    yield f"    {TaskState.DONE.value} --> [*]"
    yield "```"


def _states() -> Iterator[str]:
    meanings = re.findall(r'(\w+) = "(\w+)"  #: (.+)', inspect.getsource(TaskState))
    yield "\n## The states\n\n| state | |\n|---|---|"
    for _, value, meaning in meanings:
        yield f"| {value} | {meaning} |"


def _edges() -> Iterator[str]:
    yield "\n## The transitions\n\n| in | event | leads to | what happens |\n|---|---|---|---|"
    for (state, kind), rule in TRANSITIONS.items():
        targets = " or ".join(target.value for target in rule.to)
        yield f"| {state.value} | {kind.__name__} | {targets} | {_sentence(rule.apply)} |"


def _matrix() -> Iterator[str]:
    yield MATRIX
    yield "| | " + " | ".join(state.value for state in TaskState) + " |"
    yield "|---" * (len(TaskState) + 1) + "|"
    for kind in EVENTS:
        cells = " | ".join(_cell(state, kind) for state in TaskState)
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
    for state in TaskState:
        names = ", ".join(type(effect).__name__ for effect in owed(_sample(state)))
        yield f"| {state.value} | {names or 'nothing'} |"


def _effects() -> Iterator[str]:
    yield "\n| effect | |\n|---|---|"
    for kind in EFFECTS:
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
