"""The verb `tree`: what a task runs after, and what runs after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
from rich.text import Text
from rich.tree import Tree

from spoolmw.ctl.picks import TASK, pick
from spoolmw.ctl.session import Session
from spoolmw.ctl.show import task_record
from spoolmw.ctl.verb import verb
from spoolmw.ctl.words import STATE_STYLES, count, short
from spoolmw.format.names import escape
from spoolmw.store.reports import Reports

Record = Mapping[str, Any]

#: Tasks that are drawn below one, for people; and in one drawing.
MOST_BELOW, MOST_DRAWN = 20, 500


Below = Callable[[Record], Sequence[Record]]


class Node(NamedTuple):
    """One task in the drawing; `below` are its own, unless it was drawn before."""

    task: Record
    relation: str  #: "self", "predecessor" or "successor"
    depth: int
    parent: str  #: the id of the task that it stands below
    again: bool  #: drawn before
    left_out: int  #: so many stand below it and are not drawn


@verb(
    "tree",
    examples="""
    spoolmw-ctl tree fold-17
    spoolmw-ctl tree --all total
    spoolmw-ctl tree --json total | jq -r 'select(.state == "failed") | .name'
    """,
)
@click.argument("task", type=TASK)
@click.option("--all", "everything", is_flag=True, help="Leave nothing out, however large.")
def tree_verb(session: Session, task: str, *, everything: bool) -> None:
    """Draw what a task runs after, and what runs after it.

    Works while the daemon is down.
    """
    [task_id] = pick(session, [task], newest=True)
    root = task_record(session, task_id)
    whole = everything or session.screen.json
    with session.reports() as reports:
        before = list(_walk(root, _predecessors(reports), "predecessor", whole=whole))
        after = list(_walk(root, _successors(reports), "successor", whole=whole))
    if session.screen.json:
        for node in [Node(root, "self", 0, "", again=False, left_out=0), *before, *after]:
            session.screen.record(_record(node))
        return
    drawing = Tree(_line(root))
    _draw(drawing, "runs after", before, root["id"])
    _draw(drawing, "before", after, root["id"])
    session.screen.out.print(drawing)


def _predecessors(reports: Reports) -> Below:
    def below(task: Record) -> Sequence[Record]:
        words = (task.get("spec") or {}).get("after") or ()
        found = []
        for word, known in zip(words, task.get("predecessors") or (), strict=False):
            record = reports.task(known) if known else None
            found.append(record or {"id": known, "name": word, "state": "unknown"})
        return found

    return below


def _successors(reports: Reports) -> Below:
    index: dict[str, list[str]] = {}
    for successor, predecessors in reports.predecessors():
        for known in predecessors:
            index.setdefault(known, []).append(successor)

    def below(task: Record) -> Sequence[Record]:
        found = (reports.task(each) for each in index.get(task["id"], ()))
        return [each for each in found if each is not None]

    return below


def _walk(root: Record, below: Below, relation: str, *, whole: bool) -> Iterator[Node]:
    """Everything below `root`, level by level; what was met before is not gone through again."""
    seen = {root["id"]}
    todo = deque([(root, 1)])
    drawn = 0
    while todo:
        parent, depth = todo.popleft()
        found = below(parent)
        room = len(found) if whole else min(MOST_BELOW, max(MOST_DRAWN - drawn, 0))
        drawn += min(len(found), room)
        for task in found[:room]:
            again = bool(task["id"]) and task["id"] in seen
            seen.add(task["id"])
            yield Node(task, relation, depth, parent["id"], again=again, left_out=0)
            if not again:
                todo.append((task, depth + 1))
        if left_out := len(found) - min(len(found), room):
            yield Node({}, relation, depth, parent["id"], again=False, left_out=left_out)


def _draw(drawing: Tree, title: str, nodes: Sequence[Node], root: str) -> None:
    if not nodes:
        return
    branches = {root: drawing.add(Text(title, style="dim"))}
    for node in nodes:
        parent = branches[node.parent]
        if node.left_out:
            parent.add(Text(f"... {count(node.left_out, 'more', 'more')} (--all)", style="dim"))
            continue
        branch = parent.add(_line(node.task, again=node.again))
        if not node.again:
            branches[node.task["id"]] = branch


def _line(task: Record, *, again: bool = False) -> Text:
    state = task["state"]
    said = "not dropped yet, or pruned" if state == "unknown" else str(state)
    parts: list[tuple[str, str]] = [
        (f"{escape(task['name'])} ", "bold"),
        (said, STATE_STYLES.get(state, "dim")),
    ]
    if task["id"]:
        parts.append((f" {short(task['id'])}", "dim"))
    if again:
        parts.append((" (as above)", "dim"))
    return Text.assemble(*parts)


def _record(node: Node) -> dict[str, object]:
    task = node.task
    return {
        "id": task["id"],
        "name": task["name"],
        "state": task["state"],
        "relation": node.relation,
        "depth": node.depth,
        "parent": node.parent,
        "again": node.again,
    }
