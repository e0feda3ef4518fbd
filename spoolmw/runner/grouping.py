"""Sorts results into classes, given which of them are equal.

The rule: in a class each equals each. Where equality is transitive that says all. Where it is not
(closeness: a ~ b and b ~ c, but a and c too far apart), the largest set in which each equals each
is the first class; of sets equally large, the one with the lower numbers; then the same again
with those that are left. So the classes depend on neither the order of reports nor on chance, and
no chain of small steps makes two results agree that are far apart.
"""

from __future__ import annotations

from typing import (
    AbstractSet,
    Callable,
    Dict,
    FrozenSet,
    Hashable,
    List,
    Mapping,
    NamedTuple,
    Sequence,
    Set,
    Tuple,
)

Graph = Dict[int, Set[int]]


class Group(NamedTuple):
    """A class: its members, the one to stand for it, and those outside that equal that one."""

    members: Tuple[int, ...]
    centre: int
    near: Tuple[int, ...]


def by_key(keys: Mapping[int, Hashable]) -> List[Group]:
    """Classes of those with the same key, in the order of their lowest numbers."""
    found: Dict[Hashable, List[int]] = {}
    for number in sorted(keys):
        found.setdefault(keys[number], []).append(number)
    return [Group(tuple(members), members[0], ()) for members in found.values()]


def by_pairs(numbers: Sequence[int], same: Callable[[int, int], bool]) -> List[Group]:
    """Classes by an equality that is asked once for each pair, the lower number first."""
    ordered = sorted(numbers)
    graph: Graph = {number: set() for number in ordered}
    for position, one in enumerate(ordered):
        for two in ordered[position + 1 :]:
            if same(one, two):
                graph[one].add(two)
                graph[two].add(one)
    return by_graph(graph)


def by_graph(graph: Graph) -> List[Group]:
    """Classes of a graph whose edges say which numbers are equal, the lowest numbers first."""
    groups: List[Group] = []
    left = set(graph)
    while left:
        members = _largest(graph, left)
        # The one that equals most others stands for the class: it is in the middle.
        centre = min(members, key=lambda each: (-len(graph[each]), each))
        near = tuple(sorted(graph[centre] - set(members)))
        groups.append(Group(members, centre, near))
        left -= set(members)
    return sorted(groups)


def _largest(graph: Graph, left: AbstractSet[int]) -> Tuple[int, ...]:
    """The largest set in which each equals each, out of `left`; of equal ones the lowest."""
    best: Tuple[int, ...] = ()
    seen: Set[int] = set()
    for start in sorted(left):
        if start in seen:
            continue
        part = _connected(graph, start, left)
        seen |= part
        if len(part) < len(best):
            continue
        found = tuple(sorted(part)) if _all_equal(graph, part) else _search(graph, part)
        best = min(best, found, key=lambda each: (-len(each), each))
    return best


def _connected(graph: Graph, start: int, left: AbstractSet[int]) -> FrozenSet[int]:
    part, todo = {start}, [start]
    while todo:
        new = (graph[todo.pop()] & left) - part
        part |= new
        todo += new
    return frozenset(part)


def _all_equal(graph: Graph, part: AbstractSet[int]) -> bool:
    return all(len(graph[each] & part) == len(part) - 1 for each in part)


def _search(graph: Graph, part: AbstractSet[int]) -> Tuple[int, ...]:
    """Bron and Kerbosch's search with a pivot; parts are small, limits end what is not."""
    best: List[Tuple[int, ...]] = [()]

    def extend(chosen: Tuple[int, ...], open_ones: Set[int], done: Set[int]) -> None:
        if not open_ones and not done:
            found = tuple(sorted(chosen))
            best[0] = min(best[0], found, key=lambda each: (-len(each), each))
            return
        if len(chosen) + len(open_ones) < len(best[0]):
            return
        pivot = max(open_ones | done, key=lambda each: (len(graph[each] & open_ones), -each))
        for each in sorted(open_ones - graph[pivot]):
            extend((*chosen, each), open_ones & graph[each], done & graph[each])
            open_ones = open_ones - {each}
            done = done | {each}

    extend((), set(part), set())
    return best[0]
