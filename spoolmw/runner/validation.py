"""Compares the results that an order names: a validation is an attempt that writes no file.

The task's own file says what is needed beside them: the inputs (a comparing program may be one of
them) and, behind the call's bytes in the body, the functions of `validator = "python"`.
"""

from __future__ import annotations

from typing import Any, Dict

from . import judge, results
from .comparing import Wish
from .judge import Bounds, Judgement
from .order import Order
from .reading import TaskFile
from .staged import Returned

_MOST_REASON = 200  #: characters of why a result is none: a hundred fit into one packet


def compare(told: Order, task: TaskFile, stage: str) -> Judgement:
    """What the results in `stage` come to; takes as long as the order's bounds allow."""
    asked = told.judge
    assert asked is not None
    returned = [
        Returned(replica, stage + name, bool(trusted))
        for replica, name, trusted in asked["results"]
    ]
    bounds = Bounds(asked["step"], asked["total"], asked.get("memory", 0))
    return judge.judge(returned, _wish(asked, task), bounds)


def _wish(asked: Dict[str, Any], task: TaskFile) -> Wish:
    wish = Wish(kind=asked["kind"])
    if wish.kind == "close":
        return wish._replace(rtol=asked["rtol"], atol=asked["atol"])
    if wish.kind == "command":
        return wish._replace(command=tuple(asked["command"]))
    if wish.kind == "python":
        return wish._replace(code=code_of(task))
    return wish


def code_of(task: TaskFile) -> bytes:
    """The pickled pair of functions at the end of a task's body; empty: it has none."""
    size = (task.header.get("redundancy") or {}).get("code", 0)
    return bytes(task.body[max(0, len(task.body) - size) :]) if size else b""


def as_tree(found: Judgement) -> Dict[str, Any]:
    """A judgement for a report: it fits into one packet, however much a validator had to say."""
    tree = judge.as_tree(found)
    tree["unfit"] = [
        [replica, results.one_line(why)[:_MOST_REASON]] for replica, why in tree["unfit"]
    ]
    return tree
