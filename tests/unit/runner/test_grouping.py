"""Classes of results: every graph of up to five, and what happens where closeness is a chain."""

from __future__ import annotations

import itertools
import random

import pytest

from spoolmw.runner.grouping import Graph, Group, by_graph, by_key, by_pairs


def graph_of(count: int, edges: set[tuple[int, int]]) -> Graph:
    graph: Graph = {number: set() for number in range(count)}
    for one, two in edges:
        graph[one].add(two)
        graph[two].add(one)
    return graph


def test_equal_ones_are_a_class() -> None:
    assert by_key({0: b"a", 1: b"b", 2: b"a"}) == [Group((0, 2), 0, ()), Group((1,), 1, ())]


def test_a_chain_is_broken_where_its_ends_are_too_far_apart() -> None:
    """0 ~ 1 and 1 ~ 2, but not 0 ~ 2: the lower numbers are the class, and 2 is near to its centre."""
    chain = graph_of(3, {(0, 1), (1, 2)})
    assert by_graph(chain) == [Group((0, 1), 1, (2,)), Group((2,), 2, (1,))]


def test_the_largest_class_is_found_whatever_comes_first() -> None:
    kite = graph_of(4, {(0, 1), (1, 2), (1, 3), (2, 3)})
    assert by_graph(kite) == [Group((0,), 0, (1,)), Group((1, 2, 3), 1, (0,))]


def test_each_pair_is_asked_once_the_lower_first() -> None:
    asked: list[tuple[int, int]] = []

    def same(one: int, two: int) -> bool:
        asked.append((one, two))
        return True

    assert by_pairs([2, 0, 1], same) == [Group((0, 1, 2), 0, ())]
    assert asked == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("count", range(6))
def test_every_small_graph_gives_the_classes_of_the_stated_rule(count: int) -> None:
    pairs = list(itertools.combinations(range(count), 2))
    for size in range(len(pairs) + 1):
        for edges in itertools.combinations(pairs, size):
            graph = graph_of(count, set(edges))
            assert [each.members for each in by_graph(graph)] == plainly(graph)


def plainly(graph: Graph) -> list[tuple[int, ...]]:
    """The same by trying all sets: the largest first, of equal ones the lowest."""
    left, found = sorted(graph), []
    while left:
        best = next(
            chosen
            for size in range(len(left), 0, -1)
            for chosen in itertools.combinations(left, size)
            if all(two in graph[one] for one, two in itertools.combinations(chosen, 2))
        )
        found.append(best)
        left = [each for each in left if each not in best]
    return sorted(found)


def test_the_centre_equals_all_of_its_class_and_all_that_are_near() -> None:
    chance = random.Random(1)
    for _ in range(300):
        edges = {pair for pair in itertools.combinations(range(7), 2) if chance.random() < 0.5}
        graph = graph_of(7, edges)
        for group in by_graph(graph):
            assert graph[group.centre] == {*group.members, *group.near} - {group.centre}


def test_a_hundred_results_are_sorted_at_once() -> None:
    near = {(a, b) for a, b in itertools.combinations(range(100), 2) if b - a <= 7}
    assert [len(each.members) for each in by_graph(graph_of(100, near))] == [8] * 12 + [4]
